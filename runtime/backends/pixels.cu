// Images in a GPU's memory, to a model's patches: what samplings do on the CPU, to the bit.
//
// `windows` makes levels of 0 to 255, scales to the view by area as OpenCV's INTER_AREA does (the same sums, in the
// same order and in float), pads by reflection and cuts. `extremes` finds what the values of floats reach.
//
// The work of one thread is a function of its own, so that the same source runs on a CPU, where the tests compare it
// with OpenCV. To be compiled without fused multiply-add. pixels.ptx is made of it: python -m pscr.export.ptx

#ifdef __CUDACC__
#define DEVICE static __device__ __forceinline__
#else
#include <math.h>
#define DEVICE static inline
#endif

typedef unsigned char Byte;

// cuda_pixels.Job; addresses are numbers, so that its layout is that of 8 and 4 byte integers alone.
typedef struct {
    long long source, patches, corners, found;                          // addresses
    long long image_stride, row_stride, pixel_stride, channel_stride;  // bytes, of the source [N,H,W,3]
    int kind, range;              // values: 0 uint8, 1 float16, 2 float32; black and white: 0 0..255, 1 0..1, 2 -1..1
    int images, height, width;    // of the source, pixels
    int tall, wide, top, left;    // the view's sides, and the rows and columns that are padded before it
    int count, patch_height, patch_width;
} Job;

DEVICE float half_value(unsigned bits) {
    unsigned sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u, fraction = bits & 0x3ffu;
    union { unsigned bits; float value; } number;
    if (exponent == 0) {
        float value = (float)fraction * 5.9604644775390625e-08f;  // 2 to the power of -24
        return sign ? -value : value;
    }
    number.bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112u) << 23) | fraction << 13;
    return number.value;
}

DEVICE float value_at(const Job *job, int image, int row, int column, int channel) {
    long long at = job->source + image * job->image_stride + row * job->row_stride + column * job->pixel_stride
        + channel * job->channel_stride;
    if (job->kind == 0) return (float)*(const Byte *)at;
    return job->kind == 1 ? half_value(*(const unsigned short *)at) : *(const float *)at;
}

DEVICE int level(float value) {
    value = rintf(value);
    if (!(value > 0.0f)) return 0;
    return value > 255.0f ? 255 : (int)value;
}

DEVICE int level_at(const Job *job, int image, int row, int column, int channel) {
    float value = value_at(job, image, row, column, channel);
    if (job->kind == 0) return (int)value;
    if (job->range == 2) value = value * 0.5f + 0.5f;
    return level(job->range ? value * 255.0f : value);
}

// The source pixels of an axis that a pixel of the view stands for, and the shares of the first, the others and the last.
typedef struct { int first, last; float head, body, tail; } Taps;

DEVICE Taps taps(int pixel, int view, int side) {
    double scale = 1.0 / ((double)view / (double)side);
    double begin = pixel * scale, end = begin + scale;
    double cell = scale < side - begin ? scale : side - begin;
    int inner = (int)ceil(begin), outer = (int)floor(end);
    Taps found;
    if (outer > side - 1) outer = side - 1;
    if (inner > outer) inner = outer;
    found.body = (float)(1.0 / cell);
    found.head = found.tail = 0.0f;
    found.first = inner;
    found.last = outer - 1;
    if (inner - begin > 1e-3) {
        found.first = inner - 1;
        found.head = (float)((inner - begin) / cell);
    }
    if (end - outer > 1e-3) {
        double rest = end - outer < 1.0 ? end - outer : 1.0;
        found.last = outer;
        found.tail = (float)((rest < cell ? rest : cell) / cell);
    }
    return found;
}

DEVICE float share(const Taps *of, int place) {
    if (place == of->first && of->head != 0.0f) return of->head;
    return place == of->last && of->tail != 0.0f ? of->tail : of->body;
}

DEVICE int whole_scale(int view, int side) {  // by which an axis shrinks; 0 where it is no whole number
    double scale = 1.0 / ((double)view / (double)side);
    int near = (int)rint(scale);
    return fabs(scale - near) < 2.2204460492503131e-16 ? near : 0;
}

DEVICE int area(const Job *job, int image, int row, int column, int channel) {
    int down = whole_scale(job->tall, job->height), across = whole_scale(job->wide, job->width);
    if (down && across) {
        int sum = 0;
        for (int y = row * down; y < (row + 1) * down; y++)
            for (int x = column * across; x < (column + 1) * across; x++) sum += level_at(job, image, y, x, channel);
        return down == 2 && across == 2 ? (sum + 2) >> 2 : level((float)sum * (1.0f / (float)(down * across)));
    }
    Taps rows = taps(row, job->tall, job->height), columns = taps(column, job->wide, job->width);
    float sum = 0.0f;
    for (int y = rows.first; y <= rows.last; y++) {
        float line = 0.0f;
        for (int x = columns.first; x <= columns.last; x++)
            line += (float)level_at(job, image, y, x, channel) * share(&columns, x);
        sum += line * share(&rows, y);
    }
    return level(sum);
}

DEVICE int reflected(int place, int side) {  // without the edge
    if (side == 1) return 0;
    while (place < 0 || place >= side) place = place < 0 ? -place : 2 * side - 2 - place;
    return place;
}

DEVICE void window_pixel(const Job *job, int image, int patch, int pixel) {
    const int *corner = (const int *)job->corners + 2 * patch;
    long long pixels = (long long)job->patch_height * job->patch_width;
    Byte *out = (Byte *)job->patches + 3 * (((long long)image * job->count + patch) * pixels + pixel);
    int row = reflected(corner[0] + pixel / job->patch_width - job->top, job->tall);
    int column = reflected(corner[1] + pixel % job->patch_width - job->left, job->wide);
    int scaled = job->tall != job->height || job->wide != job->width;
    for (int channel = 0; channel < 3; channel++)
        out[channel] = (Byte)(scaled ? area(job, image, row, column, channel)
                                     : level_at(job, image, row, column, channel));
}

// Floats as unsigned numbers of the same order.
DEVICE unsigned ordered(float value) {
    union { float value; unsigned bits; } number;
    number.value = value;
    return number.bits & 0x80000000u ? ~number.bits : number.bits | 0x80000000u;
}

// What the values of every `step`-th pixel from `first` on reach: lowest, highest (as `ordered`), and whether one is NaN.
typedef struct { unsigned low, high, unknown; } Extremes;

DEVICE Extremes extremes_of(const Job *job, int image, long long first, long long step) {
    Extremes found = {0xffffffffu, 0u, 0u};
    for (long long pixel = first; pixel < (long long)job->height * job->width; pixel += step)
        for (int channel = 0; channel < 3; channel++) {
            float value = value_at(job, image, (int)(pixel / job->width), (int)(pixel % job->width), channel);
            unsigned number = ordered(value);
            if (value != value) found.unknown = 1u;
            else {
                if (number < found.low) found.low = number;
                if (number > found.high) found.high = number;
            }
        }
    return found;
}

#ifdef __CUDACC__

extern "C" __global__ void windows(Job job) {  // grid: pixels of a patch, patches, images
    long long pixel = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel < (long long)job.patch_height * job.patch_width)
        window_pixel(&job, (int)blockIdx.z, (int)blockIdx.y, (int)pixel);
}

extern "C" __global__ void extremes(Job job) {  // grid: any number, 1, images
    unsigned *place = (unsigned *)job.found + 3 * (long long)blockIdx.z;
    Extremes found = extremes_of(&job, (int)blockIdx.z, (long long)blockIdx.x * blockDim.x + threadIdx.x,
                                 (long long)gridDim.x * blockDim.x);
    atomicMin(place, found.low);
    atomicMax(place + 1, found.high);
    atomicMax(place + 2, found.unknown);
}

#else

void windows(const Job *job) {
    for (int image = 0; image < job->images; image++)
        for (int patch = 0; patch < job->count; patch++)
            for (int pixel = 0; pixel < job->patch_height * job->patch_width; pixel++)
                window_pixel(job, image, patch, pixel);
}

void extremes(const Job *job) {
    for (int image = 0; image < job->images; image++)
        ((Extremes *)job->found)[image] = extremes_of(job, image, 0, 1);
}

#endif
