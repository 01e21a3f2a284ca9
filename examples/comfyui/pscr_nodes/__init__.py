"""Nodes for ComfyUI that score images; copy or link this folder into custom_nodes. Needs `pip install pscr[cpu]`."""

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
