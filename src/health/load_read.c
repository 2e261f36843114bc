/* SPDX-License-Identifier: MIT */
/*
 * The names under which engines and exporters tell their load. A page that has several series of a
 * name (models, ranks, GPUs) tells so many parts.
 */
#include "load_read_private.h"

#include <nearside/base/attr.h>
#include <nearside/obs/metric_parse.h>

#define NAME(text)                                                                                 \
    {                                                                                              \
        .ptr = text, .len = sizeof(text) - 1                                                       \
    }
#define ANY                                                                                        \
    {                                                                                              \
        .ptr = "", .len = 0                                                                        \
    }

static const struct {
    struct str name;
    struct str key; /* empty: whatever its labels */
    struct str value;
    enum load_signal signal;
    double unit; /* what the figure is multiplied by */
} names[] = {
    /* vLLM; the second KV name is the one before its version 0.10 */
    {NAME("vllm:num_requests_waiting"), ANY, ANY, LOAD_WAITING, 1},
    {NAME("vllm:num_requests_running"), ANY, ANY, LOAD_RUNNING, 1},
    {NAME("vllm:kv_cache_usage_perc"), ANY, ANY, LOAD_KV_CACHE, 1},
    {NAME("vllm:gpu_cache_usage_perc"), ANY, ANY, LOAD_KV_CACHE, 1},
    /* SGLang */
    {NAME("sglang:num_queue_reqs"), ANY, ANY, LOAD_WAITING, 1},
    {NAME("sglang:num_running_reqs"), ANY, ANY, LOAD_RUNNING, 1},
    {NAME("sglang:token_usage"), ANY, ANY, LOAD_KV_CACHE, 1},
    /* Text Generation Inference tells nothing of its KV cache */
    {NAME("tgi_queue_size"), ANY, ANY, LOAD_WAITING, 1},
    {NAME("tgi_batch_current_size"), ANY, ANY, LOAD_RUNNING, 1},
    /* llama.cpp; the last one only before 2025 */
    {NAME("llamacpp:requests_deferred"), ANY, ANY, LOAD_WAITING, 1},
    {NAME("llamacpp:requests_processing"), ANY, ANY, LOAD_RUNNING, 1},
    {NAME("llamacpp:kv_cache_usage_ratio"), ANY, ANY, LOAD_KV_CACHE, 1},
    /* Triton: its core's queue, and what its TensorRT-LLM backend and TensorRT-LLM itself tell */
    {NAME("nv_inference_pending_request_count"), ANY, ANY, LOAD_WAITING, 1},
    {NAME("nv_trt_llm_request_metrics"), NAME("request_type"), NAME("waiting"), LOAD_WAITING, 1},
    {NAME("nv_trt_llm_request_metrics"), NAME("request_type"), NAME("scheduled"), LOAD_RUNNING, 1},
    {NAME("nv_trt_llm_kv_cache_block_metrics"), NAME("kv_cache_block_type"), NAME("fraction"),
     LOAD_KV_CACHE, 1},
    {NAME("trtllm_num_requests_waiting"), ANY, ANY, LOAD_WAITING, 1},
    {NAME("trtllm_num_requests_running"), ANY, ANY, LOAD_RUNNING, 1},
    {NAME("trtllm_kv_cache_utilization"), ANY, ANY, LOAD_KV_CACHE, 1},
    {NAME("nv_gpu_utilization"), ANY, ANY, LOAD_GPU, 1},
    /* NVIDIA's DCGM exporter, in percent */
    {NAME("DCGM_FI_DEV_GPU_UTIL"), ANY, ANY, LOAD_GPU, 0.01},
    {NAME("dcgm_gpu_utilization"), ANY, ANY, LOAD_GPU, 0.01},
};

bool load_read_line(struct load *load, struct str line)
{
    struct metric_sample sample;
    enum metric_line kind = metric_parse_line(line, &sample);

    if (kind != METRIC_LINE_SAMPLE) {
        return kind == METRIC_LINE_NOTHING;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq(names[i].name, sample.name) &&
            (names[i].key.len == 0 || metric_sample_has(&sample, names[i].key, names[i].value))) {
            load_add(load, names[i].signal, sample.value * names[i].unit);
        }
    }
    return true;
}
