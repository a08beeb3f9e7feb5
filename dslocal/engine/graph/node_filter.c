/* Answers llama.cpp's cb_eval for the nodes that nobody wants, without Python.
 *
 * The scheduler asks about each node of a graph, 1,700 times for a token of a model of 19 layers.
 * Each question that reaches Python takes 10 to 25 microseconds, because the thread must take
 * Python's lock, and llama.cpp's other threads wait meanwhile. */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#define INTERFACE 1

typedef bool (*eval_callback)(void *node, bool asks, void *data);

/* As node_filter.py has it. */
struct selection {
    eval_callback callback;    /* Python's: is asked about nodes that are selected */
    int32_t operation;         /* nodes with this operation are */
    int32_t n_names;           /* and nodes whose names begin with one of these */
    const char *const *names;
    int64_t operation_offset;  /* in ggml_tensor */
    int64_t name_offset;
};

static bool is_selected(const struct selection *selection, const char *node) {
    int32_t operation;
    memcpy(&operation, node + selection->operation_offset, sizeof operation);
    if (operation == selection->operation) {
        return true;
    }
    const char *name = node + selection->name_offset;
    for (int32_t n = 0; n < selection->n_names; n++) {
        if (strncmp(name, selection->names[n], strlen(selection->names[n])) == 0) {
            return true;
        }
    }
    return false;
}

EXPORT int node_filter_interface(void) { return INTERFACE; }

EXPORT bool node_filter_ask(void *node, bool asks, void *data) {
    const struct selection *selection = data;
    if (asks && !is_selected(selection, node)) {
        return false;
    }
    return selection->callback(node, asks, data);
}
