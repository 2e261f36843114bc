/* SPDX-License-Identifier: MIT */
/* What the pages of each engine and exporter say about its load. */
#include "health/load_read_private.h"

#include <nearside/base/attr.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define UNKNOWN (-1.0)

/* Excerpts as the engines write them: waiting, running, KV cache, GPU. */
static const struct {
    const char *page;
    double wanted[LOAD_SIGNAL_COUNT];
} pages[] = {
    /* vLLM, two engines in one process */
    {"# TYPE vllm:num_requests_running gauge\n"
     "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 8.0\n"
     "vllm:num_requests_running{engine=\"1\",model_name=\"m\"} 6.0\n"
     "vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 3.0\n"
     "vllm:num_requests_waiting{engine=\"1\",model_name=\"m\"} 0.0\n"
     "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.5\n"
     "vllm:kv_cache_usage_perc{engine=\"1\",model_name=\"m\"} 0.25\n"
     "vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 3.0\n",
     {3, 14, 0.375, UNKNOWN}},
    /* vLLM before 0.10 */
    {"vllm:num_requests_waiting{model_name=\"m\"} 1.0\nvllm:gpu_cache_usage_perc 0.75\n",
     {1, UNKNOWN, 0.75, UNKNOWN}},
    /* SGLang */
    {"sglang:num_running_reqs{model_name=\"m\"} 5.0\nsglang:num_queue_reqs{model_name=\"m\"} 7.0\n"
     "sglang:token_usage{model_name=\"m\"} 0.28\n",
     {7, 5, 0.28, UNKNOWN}},
    /* Text Generation Inference */
    {"tgi_queue_size 4\ntgi_batch_current_size 2\ntgi_request_count 900\n",
     {4, 2, UNKNOWN, UNKNOWN}},
    /* llama.cpp */
    {"llamacpp:requests_processing 1\nllamacpp:requests_deferred 9\n"
     "llamacpp:kv_cache_usage_ratio 0.1",
     {9, 1, 0.1, UNKNOWN}},
    /* Triton with TensorRT-LLM, which tells GPUs by itself */
    {"nv_inference_pending_request_count{model=\"a\",version=\"1\"} 2\n"
     "nv_trt_llm_request_metrics{model=\"a\",request_type=\"waiting\",version=\"1\"} 3\n"
     "nv_trt_llm_request_metrics{model=\"a\",request_type=\"scheduled\",version=\"1\"} 4\n"
     "nv_trt_llm_request_metrics{model=\"a\",request_type=\"max\",version=\"1\"} 512\n"
     "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\",model=\"a\"} 0.2\n"
     "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\",model=\"a\"} 6239\n"
     "nv_gpu_utilization{gpu_uuid=\"GPU-1\"} 0.6\nnv_gpu_utilization{gpu_uuid=\"GPU-2\"} 0.8\n",
     {5, 4, 0.2, 0.7}},
    /* DCGM exporter, in percent */
    {"DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"GPU-1\",Hostname=\"n1\"} 90\n"
     "DCGM_FI_DEV_GPU_UTIL{gpu=\"1\",UUID=\"GPU-2\",Hostname=\"n1\"} 70\n"
     "DCGM_FI_DEV_FB_USED{gpu=\"0\"} 70000\n",
     {UNKNOWN, UNKNOWN, UNKNOWN, 0.8}},
    /* figures that are none are left out */
    {"vllm:num_requests_waiting NaN\nvllm:num_requests_running -1\nDCGM_FI_DEV_GPU_UTIL +Inf\n",
     {UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN}},
    {"go_goroutines 12\n", {UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN}},
};

static bool read_page(struct load *load, const char *page)
{
    struct str rest = str_of(page);

    while (rest.len > 0) {
        size_t end = str_find_char(rest, '\n');

        if (!load_read_line(load, str_slice(rest, 0, end))) {
            return false;
        }
        rest = str_slice(rest, end + 1, rest.len);
    }
    return true;
}

static void test_each_engine_is_understood_by_its_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        struct load load = {.parts = {0}};

        assert_true(read_page(&load, pages[i].page));
        for (unsigned signal = 0; signal < LOAD_SIGNAL_COUNT; signal++) {
            double value = UNKNOWN;

            (void)load_value(&load, signal, &value);
            assert_float_equal(value, pages[i].wanted[signal], 1e-6);
        }
    }
}

static void test_a_page_that_is_no_prometheus_text_is_refused(void **state)
{
    struct load load = {.parts = {0}};

    (void)state;
    assert_false(read_page(&load, "<!doctype html>\n"));
    assert_false(read_page(&load, "{\"error\":\"nothing here\"}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_engine_is_understood_by_its_names),
        cmocka_unit_test(test_a_page_that_is_no_prometheus_text_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
