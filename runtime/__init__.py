"""The runtime: numpy, OpenCV and one inference library. It never imports torch, onnx, PIL or scipy."""
