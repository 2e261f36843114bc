/* SPDX-License-Identifier: MIT */
/*
 * Stored answers in their other form: answers as OpenAI, vLLM, SGLang, llama.cpp, Ollama and TGI
 * word them, by table. test_form_stream.c has what is particular to streams, and generated answers.
 */
#include <nearside/cache/form.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "form_text.h"

/* ---- streams as servers send them, and the plain answer that says the same ---- */

struct stream_case {
    const char *name;
    enum api api;
    const char *chunks[CHUNKS_MAX];
    const char *plain;
};

#define OPENAI(choices)                                                                            \
    "{'id':'chatcmpl-A','object':'chat.completion.chunk','created':1755137933,"                    \
    "'model':'gpt-4o-mini-2024-07-18','service_tier':'default','system_fingerprint':'fp_0a1',"     \
    "'choices':[" choices "],'usage':null,'obfuscation':'yBUv8b1dlI5ORP'}"
#define OPENAI_USAGE                                                                               \
    "{'id':'chatcmpl-A','object':'chat.completion.chunk','created':1755137933,"                    \
    "'model':'gpt-4o-mini-2024-07-18','service_tier':'default','system_fingerprint':'fp_0a1',"     \
    "'choices':[],'usage':{'prompt_tokens':9,'completion_tokens':2,'total_tokens':11,"             \
    "'prompt_tokens_details':{'cached_tokens':0,'audio_tokens':0}},'obfuscation':''}"
#define OPENAI_PLAIN(choices)                                                                      \
    "{'id':'chatcmpl-A','object':'chat.completion','created':1755137933,"                          \
    "'model':'gpt-4o-mini-2024-07-18','choices':[" choices "],"                                    \
    "'usage':{'prompt_tokens':9,'completion_tokens':2,'total_tokens':11,"                          \
    "'prompt_tokens_details':{'cached_tokens':0,'audio_tokens':0}},"                               \
    "'service_tier':'default','system_fingerprint':'fp_0a1'}"

#define VLLM(choice, usage)                                                                        \
    "{'id':'chatcmpl-7f','object':'chat.completion.chunk','created':1738000000,"                   \
    "'model':'Qwen/Qwen3-8B','choices':[" choice "]" usage "}"
#define VLLM_USAGE ",'usage':{'prompt_tokens':12,'total_tokens':20,'completion_tokens':8}"

#define LLAMA(created, choice, rest)                                                               \
    "{'choices':[" choice "],'created':" created ",'id':'chatcmpl-q','model':'gpt-3.5-turbo',"     \
    "'system_fingerprint':'b5200-1','object':'chat.completion.chunk'" rest "}"

#define OLLAMA(created, choice)                                                                    \
    "{'id':'chatcmpl-730','object':'chat.completion.chunk','created':" created                     \
    ",'model':'gemma','system_fingerprint':'fp_ollama','choices':[" choice "]}"

static const struct stream_case stream_cases[] = {
    {"OpenAI, text",
     API_CHAT,
     {OPENAI("{'index':0,'delta':{'role':'assistant','content':'','refusal':null},"
             "'logprobs':null,'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{'content':'Hel'},'logprobs':null,'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{'content':'lo \\u00e9\\n'},'logprobs':null,"
             "'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{},'logprobs':null,'finish_reason':'stop'}"), OPENAI_USAGE, DONE},
     OPENAI_PLAIN("{'index':0,'message':{'role':'assistant','content':'Hello \\u00e9\\n',"
                  "'refusal':null},'logprobs':null,'finish_reason':'stop'}")},
    {"OpenAI, two choices mixed, one refused",
     API_CHAT,
     {OPENAI("{'index':1,'delta':{'role':'assistant','content':'','refusal':null},"
             "'logprobs':null,'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{'role':'assistant','content':null,'refusal':''},"
             "'logprobs':null,'finish_reason':null}"),
      OPENAI("{'index':1,'delta':{'content':'b'},'logprobs':null,'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{'refusal':'No'},'logprobs':null,'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{'refusal':'.'},'logprobs':null,'finish_reason':'stop'}"),
      OPENAI("{'index':1,'delta':{},'logprobs':null,'finish_reason':'length'}"), OPENAI_USAGE,
      DONE},
     OPENAI_PLAIN("{'index':0,'message':{'role':'assistant','content':null,'refusal':'No.'},"
                  "'logprobs':null,'finish_reason':'stop'},"
                  "{'index':1,'message':{'role':'assistant','content':'b','refusal':null},"
                  "'logprobs':null,'finish_reason':'length'}")},
    {"OpenAI, two tool calls",
     API_CHAT,
     {OPENAI("{'index':0,'delta':{'role':'assistant','content':null,'tool_calls':[{'index':0,"
             "'id':'call_1','type':'function','function':{'name':'get','arguments':''}}],"
             "'refusal':null},'logprobs':null,'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{'tool_calls':[{'index':0,'function':{'arguments':'{\\'a\\''}}]},"
             "'logprobs':null,'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{'tool_calls':[{'index':0,'function':{'arguments':':1}'}}]},"
             "'logprobs':null,'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{'tool_calls':[{'index':1,'id':'call_2','type':'function',"
             "'function':{'name':'put','arguments':''}}]},'logprobs':null,'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{'tool_calls':[{'index':1,'function':{'arguments':'{}'}}]},"
             "'logprobs':null,'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{},'logprobs':null,'finish_reason':'tool_calls'}"), OPENAI_USAGE,
      DONE},
     OPENAI_PLAIN("{'index':0,'message':{'role':'assistant','content':null,'refusal':null,"
                  "'tool_calls':[{'id':'call_1','type':'function','function':{'name':'get',"
                  "'arguments':'{\\'a\\':1}'}},{'id':'call_2','type':'function','function':{"
                  "'name':'put','arguments':'{}'}}]},'logprobs':null,"
                  "'finish_reason':'tool_calls'}")},
    {"OpenAI, legacy function call",
     API_CHAT,
     {OPENAI("{'index':0,'delta':{'role':'assistant','content':null,'function_call':{"
             "'name':'get','arguments':''}},'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{'function_call':{'arguments':'{'}},'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{'function_call':{'arguments':'}'}},'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{},'finish_reason':'function_call'}"), OPENAI_USAGE, DONE},
     OPENAI_PLAIN("{'index':0,'message':{'role':'assistant','content':null,'function_call':{"
                  "'name':'get','arguments':'{}'}},'finish_reason':'function_call'}")},
    {"OpenAI, logprobs",
     API_CHAT,
     {OPENAI("{'index':0,'delta':{'role':'assistant','content':''},"
             "'logprobs':{'content':[],'refusal':null},'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{'content':'Hi'},'logprobs':{'content':[{'token':'Hi',"
             "'logprob':-0.31725305,'bytes':[72,105],'top_logprobs':[]}],'refusal':null},"
             "'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{'content':'!'},'logprobs':{'content':[{'token':'!',"
             "'logprob':-1e-05,'bytes':[33],'top_logprobs':[{'token':'!','logprob':0.0,"
             "'bytes':null}]}],'refusal':null},'finish_reason':null}"),
      OPENAI("{'index':0,'delta':{},'logprobs':null,'finish_reason':'stop'}"), OPENAI_USAGE, DONE},
     OPENAI_PLAIN("{'index':0,'message':{'role':'assistant','content':'Hi!'},'logprobs':{"
                  "'content':[{'token':'Hi','logprob':-0.31725305,'bytes':[72,105],"
                  "'top_logprobs':[]},{'token':'!','logprob':-1e-05,'bytes':[33],'top_logprobs':"
                  "[{'token':'!','logprob':0.0,'bytes':null}]}],'refusal':null},"
                  "'finish_reason':'stop'}")},
    {"vLLM, reasoning, usage growing on each chunk",
     API_CHAT,
     {VLLM("{'index':0,'delta':{'role':'assistant','content':''},'logprobs':null,"
           "'finish_reason':null}",
           ",'prompt_token_ids':null,"
           "'usage':{'prompt_tokens':12,'total_tokens':12,'completion_tokens':0}"),
      VLLM("{'index':0,'delta':{'reasoning_content':'Think'},'logprobs':null,"
           "'finish_reason':null,'token_ids':null}",
           ",'usage':{'prompt_tokens':12,'total_tokens':15,'completion_tokens':3}"),
      VLLM("{'index':0,'delta':{'reasoning_content':'ing'},'logprobs':null,"
           "'finish_reason':null,'token_ids':null}",
           ",'usage':{'prompt_tokens':12,'total_tokens':16,'completion_tokens':4}"),
      VLLM("{'index':0,'delta':{'content':'42'},'logprobs':null,'finish_reason':'stop',"
           "'stop_reason':151645,'token_ids':null}",
           ",'usage':{'prompt_tokens':12,'total_tokens':20,'completion_tokens':8}"),
      VLLM("", VLLM_USAGE), DONE},
     "{'id':'chatcmpl-7f','object':'chat.completion','created':1738000000,'model':'Qwen/Qwen3-8B',"
     "'prompt_token_ids':null,'choices':[{'index':0,'message':{'role':'assistant','content':'42',"
     "'reasoning_content':'Thinking'},'logprobs':null,'finish_reason':'stop',"
     "'stop_reason':151645,'token_ids':null}]" VLLM_USAGE "}"},
    {"SGLang, nulls everywhere, names said once",
     API_CHAT,
     {"{'id':'6e','object':'chat.completion.chunk','created':1,'model':'m','choices':[{'index':0,"
      "'delta':{'role':'assistant','content':'','reasoning_content':null,'tool_calls':null},"
      "'logprobs':null,'finish_reason':null,'matched_stop':null}],'usage':null}",
      "{'id':'6e','object':'chat.completion.chunk','created':1,'model':'m','choices':[{'index':0,"
      "'delta':{'role':null,'content':null,'reasoning_content':null,'tool_calls':[{'id':'call_9',"
      "'index':0,'type':'function','function':{'name':'f','arguments':''}}]},"
      "'logprobs':null,'finish_reason':null,'matched_stop':null}],'usage':null}",
      "{'id':'6e','object':'chat.completion.chunk','created':1,'model':'m','choices':[{'index':0,"
      "'delta':{'role':null,'content':null,'reasoning_content':null,'tool_calls':[{'id':null,"
      "'index':0,'type':'function','function':{'name':null,'arguments':'{}'}}]},"
      "'logprobs':null,'finish_reason':null,'matched_stop':null}],'usage':null}",
      "{'id':'6e','object':'chat.completion.chunk','created':1,'model':'m','choices':[{'index':0,"
      "'delta':{'role':null,'content':null,'reasoning_content':null,'tool_calls':null},"
      "'logprobs':null,'finish_reason':'tool_calls','matched_stop':'<|end|>'}],'usage':null}",
      "{'id':'6e','object':'chat.completion.chunk','created':1,'model':'m','choices':[],"
      "'usage':{'prompt_tokens':1,'total_tokens':3,'completion_tokens':2,"
      "'prompt_tokens_details':null}}",
      DONE},
     "{'id':'6e','object':'chat.completion','created':1,'model':'m','choices':[{'index':0,"
     "'message':{'role':'assistant','content':'','reasoning_content':null,'tool_calls':[{"
     "'id':'call_9','type':'function','function':{'name':'f','arguments':'{}'}}]},"
     "'logprobs':null,'finish_reason':'tool_calls','matched_stop':'<|end|>'}],"
     "'usage':{'prompt_tokens':1,'total_tokens':3,'completion_tokens':2,"
     "'prompt_tokens_details':null}}"},
    {"llama.cpp, its clock, timings with the usage",
     API_CHAT,
     {LLAMA("100", "{'finish_reason':null,'index':0,'delta':{'role':'assistant','content':null}}",
            ""),
      LLAMA("101", "{'finish_reason':null,'index':0,'delta':{'content':'Hi'}}", ""),
      LLAMA("102", "{'finish_reason':'stop','index':0,'delta':{}}", ""),
      LLAMA("102", "",
            ",'usage':{'completion_tokens':2,'prompt_tokens':5,'total_tokens':7},"
            "'timings':{'prompt_n':5,'prompt_ms':12.25}"),
      DONE},
     "{'choices':[{'finish_reason':'stop','index':0,'message':{'role':'assistant',"
     "'content':'Hi'}}],'created':100,'model':'gpt-3.5-turbo','system_fingerprint':'b5200-1',"
     "'object':'chat.completion','usage':{'completion_tokens':2,'prompt_tokens':5,"
     "'total_tokens':7},'id':'chatcmpl-q','timings':{'prompt_n':5,'prompt_ms':12.25}}"},
    {"llama.cpp, cut while it reasons: a null content that stood beside nothing",
     API_CHAT,
     {LLAMA("100", "{'finish_reason':null,'index':0,'delta':{'role':'assistant','content':null}}",
            ""),
      LLAMA("101", "{'finish_reason':null,'index':0,'delta':{'reasoning_content':'Hm'}}", ""),
      LLAMA("102", "{'finish_reason':'length','index':0,'delta':{}}", ""),
      LLAMA("102", "", ",'usage':{'completion_tokens':2,'prompt_tokens':5,'total_tokens':7}"),
      DONE},
     "{'choices':[{'finish_reason':'length','index':0,'message':{'role':'assistant',"
     "'reasoning_content':'Hm','content':''}}],'created':100,'model':'gpt-3.5-turbo',"
     "'system_fingerprint':'b5200-1','object':'chat.completion','usage':{'completion_tokens':2,"
     "'prompt_tokens':5,'total_tokens':7},'id':'chatcmpl-q'}"},
    {"llama.cpp of old, usage with the end",
     API_CHAT,
     {LLAMA("100", "{'finish_reason':null,'index':0,'delta':{'role':'assistant','content':'a'}}",
            ""),
      LLAMA("102", "{'finish_reason':'length','index':0,'delta':{}}",
            ",'usage':{'completion_tokens':2,'prompt_tokens':5,'total_tokens':7}"),
      DONE},
     "{'choices':[{'finish_reason':'length','index':0,'message':{'role':'assistant',"
     "'content':'a'}}],'created':100,'model':'gpt-3.5-turbo','system_fingerprint':'b5200-1',"
     "'object':'chat.completion','usage':{'completion_tokens':2,'prompt_tokens':5,"
     "'total_tokens':7},'id':'chatcmpl-q'}"},
    {"Ollama, role in each chunk, reasoning, a whole call at once",
     API_CHAT,
     {OLLAMA("7", "{'index':0,'delta':{'role':'assistant','content':'','reasoning':'Hm'},"
                  "'finish_reason':null}"),
      OLLAMA("7", "{'index':0,'delta':{'role':'assistant','content':'','tool_calls':[{"
                  "'id':'call_y9','index':0,'type':'function','function':{'name':'f',"
                  "'arguments':'{\\'x\\':2}'}}]},'finish_reason':null}"),
      OLLAMA("8", "{'index':0,'delta':{'role':'assistant','content':''},"
                  "'finish_reason':'tool_calls'}"),
      "{'id':'chatcmpl-730','object':'chat.completion.chunk','created':8,'model':'gemma',"
      "'system_fingerprint':'fp_ollama','choices':[],'usage':{'prompt_tokens':3,"
      "'completion_tokens':4,'total_tokens':7}}",
      DONE},
     "{'id':'chatcmpl-730','object':'chat.completion','created':7,'model':'gemma',"
     "'system_fingerprint':'fp_ollama','choices':[{'index':0,'message':{'role':'assistant',"
     "'content':'','reasoning':'Hm','tool_calls':[{'id':'call_y9','type':'function','function':{"
     "'name':'f','arguments':'{\\'x\\':2}'}}]},'finish_reason':'tool_calls'}],"
     "'usage':{'prompt_tokens':3,'completion_tokens':4,'total_tokens':7}}"},
    {"TGI, usage only where asked, no role change",
     API_CHAT,
     {"{'object':'chat.completion.chunk','id':'','created':5,'model':'tgi',"
      "'system_fingerprint':'3.0.1-native','choices':[{'index':0,'delta':{'role':'assistant',"
      "'content':'Yes'},'logprobs':null,'finish_reason':null}],'usage':null}",
      "{'object':'chat.completion.chunk','id':'','created':6,'model':'tgi',"
      "'system_fingerprint':'3.0.1-native','choices':[{'index':0,'delta':{'role':'assistant',"
      "'content':''},'logprobs':null,'finish_reason':'stop'}],'usage':null}",
      "{'object':'chat.completion.chunk','id':'','created':6,'model':'tgi',"
      "'system_fingerprint':'3.0.1-native','choices':[],'usage':{'prompt_tokens':1,"
      "'completion_tokens':2,'total_tokens':3}}",
      DONE},
     "{'object':'chat.completion','id':'','created':5,'model':'tgi',"
     "'system_fingerprint':'3.0.1-native','choices':[{'index':0,'message':{'role':'assistant',"
     "'content':'Yes'},'logprobs':null,'finish_reason':'stop'}],'usage':{'prompt_tokens':1,"
     "'completion_tokens':2,'total_tokens':3}}"},
    {"vLLM, completions with legacy logprobs",
     API_COMPLETIONS,
     {"{'id':'cmpl-1','object':'text_completion','created':2,'model':'m','choices':[{'index':0,"
      "'text':'a ','logprobs':{'text_offset':[0],'token_logprobs':[-0.5],'tokens':['a '],"
      "'top_logprobs':[{'a ':-0.5}]},'finish_reason':null,'stop_reason':null}],'usage':null}",
      "{'id':'cmpl-1','object':'text_completion','created':2,'model':'m','choices':[{'index':0,"
      "'text':'b','logprobs':{'text_offset':[2],'token_logprobs':[null],'tokens':['b'],"
      "'top_logprobs':[null]},'finish_reason':'stop','stop_reason':'\\n'}],'usage':null}",
      "{'id':'cmpl-1','object':'text_completion','created':2,'model':'m','choices':[],"
      "'usage':{'prompt_tokens':1,'total_tokens':3,'completion_tokens':2}}",
      DONE},
     "{'id':'cmpl-1','object':'text_completion','created':2,'model':'m','choices':[{'index':0,"
     "'text':'a b','logprobs':{'text_offset':[0,2],'token_logprobs':[-0.5,null],"
     "'tokens':['a ','b'],'top_logprobs':[{'a ':-0.5},null]},'finish_reason':'stop',"
     "'stop_reason':'\\n'}],'usage':{'prompt_tokens':1,'total_tokens':3,'completion_tokens':2}}"},
};

static void test_a_stream_becomes_the_plain_answer_its_server_would_have_sent(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(stream_cases); i++) {
        const struct stream_case *row = &stream_cases[i];
        struct buf events;
        struct buf plain;

        buf_init(&events);
        buf_init(&plain);
        append_chunks(&events, row->chunks);
        enum form_result result =
            form_stream_to_plain(row->api, buf_str(&events), &without_usage, &plain);
        note(row->name, result == FORM_OK);
        assert_int_equal(result, FORM_OK);

        json_t *got = parse(buf_str(&plain));
        json_t *expected = parse_quoted(row->plain);
        assert_same_json(row->name, got, expected);
        json_decref(got);
        json_decref(expected);
        buf_done(&events);
        buf_done(&plain);
    }
}

/* ---- plain answers there and back again ---- */

static void assert_quoted_round_trip(const char *name, enum api api, const char *plain)
{
    struct buf quoted;

    buf_init(&quoted);
    append_quoted(&quoted, plain);
    assert_round_trip(name, api, buf_str(&quoted));
    buf_done(&quoted);
}

static void test_what_became_plain_comes_back_as_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(stream_cases); i++) {
        assert_quoted_round_trip(stream_cases[i].name, stream_cases[i].api, stream_cases[i].plain);
    }
}

#define PLAIN_TEXT(choice)                                                                         \
    "{'id':'c','object':'text_completion','created':1,'model':'m','choices':[" choice "],"         \
    "'usage':{'prompt_tokens':1,'completion_tokens':1,'total_tokens':2}}"

struct plain_case {
    const char *name;
    enum api api;
    const char *plain;
};

static const struct plain_case plain_cases[] = {
    {"OpenAI, empty lists", API_CHAT,
     PLAIN_CHAT("{'index':0,'message':{'role':'assistant','content':'Hi','refusal':null,"
                "'annotations':[]},'logprobs':null,'finish_reason':'stop'}")},
    {"vLLM, everything null", API_CHAT,
     "{'id':'c','object':'chat.completion','created':1,'model':'m','choices':[{'index':0,"
     "'message':{'role':'assistant','content':'Hi there','refusal':null,'annotations':null,"
     "'audio':null,'function_call':null,'tool_calls':[],'reasoning_content':null},"
     "'logprobs':null,'finish_reason':'stop','stop_reason':null,'token_ids':null}],"
     "'service_tier':null,'system_fingerprint':null,'usage':{'prompt_tokens':9,'total_tokens':11,"
     "'completion_tokens':2,'prompt_tokens_details':null},'prompt_logprobs':null,"
     "'prompt_token_ids':null,'kv_transfer_params':null}"},
    {"the same reasoning under both names", API_CHAT,
     PLAIN_CHAT("{'index':0,'message':{'role':'assistant','content':'x','reasoning':'because of "
                "one thing and then another, at some length, until it ends',"
                "'reasoning_content':'because of one thing and then another, at some length, "
                "until it ends'},'finish_reason':'stop'}")},
    {"empty text", API_CHAT,
     PLAIN_CHAT("{'index':0,'message':{'role':'assistant','content':'','reasoning_content':''},"
                "'finish_reason':'stop'}")},
    {"NUL, escapes and characters of four bytes", API_CHAT,
     PLAIN_CHAT("{'index':0,'message':{'role':'assistant','content':'\\u0000\\\\\\b\\u001f"
                "\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00"
                "\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00"
                "\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00"
                "\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00'},'finish_reason':'stop'}")},
    {"tokens that do not spell the text", API_CHAT,
     PLAIN_CHAT(
         "{'index':0,'message':{'role':'assistant','content':'ab\\u20accd'},'logprobs':{"
         "'content':[{'token':'ab','logprob':-1.5},{'token':'\\\\xe2\\\\x82','logprob':-1.0},"
         "{'token':'\\\\xac','logprob':-9999.0},{'token':'cd','logprob':-0.1},"
         "{'token':'<end>','logprob':-0.25}],'refusal':[]},'finish_reason':'stop'}")},
    {"tokens of a tool call", API_CHAT,
     PLAIN_CHAT("{'index':0,'message':{'role':'assistant','content':null,'tool_calls':[{'id':'a',"
                "'type':'function','function':{'name':'f','arguments':''}}]},'logprobs':{"
                "'content':[{'token':'{','logprob':-1.5}]},'finish_reason':'tool_calls'}")},
    {"refusal with tokens", API_CHAT,
     PLAIN_CHAT("{'index':0,'message':{'role':'assistant','content':null,'refusal':'No.'},"
                "'logprobs':{'content':null,'refusal':[{'token':'No','logprob':-1.5},"
                "{'token':'.','logprob':-0.5}]},'finish_reason':'stop'}")},
    {"no tokens at all", API_CHAT,
     PLAIN_CHAT("{'index':0,'message':{'role':'assistant','content':''},'logprobs':{'content':[],"
                "'refusal':null},'finish_reason':'stop'}")},
    {"completions, echo and n", API_COMPLETIONS,
     PLAIN_TEXT("{'index':0,'text':'Say it: it','logprobs':{'tokens':['Say',' it',':',' it'],"
                "'token_logprobs':[null,-1.25,-2.0,-0.5],'top_logprobs':null,"
                "'text_offset':[0,3,6,7]},'finish_reason':'stop'},"
                "{'index':1,'text':'','logprobs':null,'finish_reason':'length'}")},
    {"completions, prompt logprobs null", API_COMPLETIONS,
     PLAIN_TEXT("{'index':0,'text':'a','logprobs':null,'finish_reason':'length',"
                "'stop_reason':null,'prompt_logprobs':null}")},
    {"completions, logprobs of chat's shape", API_COMPLETIONS,
     PLAIN_TEXT("{'index':0,'text':'ab','logprobs':{'content':[{'token':'a','logprob':-0.5},"
                "{'token':'b','logprob':-0.25}]},'finish_reason':'length'}")},
};

static void test_a_plain_answer_comes_back_as_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plain_cases); i++) {
        assert_quoted_round_trip(plain_cases[i].name, plain_cases[i].api, plain_cases[i].plain);
    }
}

/* ---- the events of a plain answer ---- */

static void assert_stream(enum api api, const char *plain, const struct form_wish *wish,
                          const char *const chunks[CHUNKS_MAX])
{
    struct buf quoted;
    struct buf expected;
    struct buf events;

    buf_init(&quoted);
    buf_init(&expected);
    buf_init(&events);
    append_quoted(&quoted, plain);
    append_chunks(&expected, chunks);
    assert_int_equal(form_plain_to_stream(api, buf_str(&quoted), wish, &events), FORM_OK);
    buf_append_char(&events, '\0');
    buf_append_char(&expected, '\0');
    assert_string_equal(events.data, expected.data);
    buf_done(&quoted);
    buf_done(&expected);
    buf_done(&events);
}

#define EVENT(choices, rest)                                                                       \
    "{'object':'chat.completion.chunk','id':'c','created':1,'model':'m','choices':[" choices       \
    "]" rest "}"

static const char plain_with_call[] = PLAIN_CHAT(
    "{'index':0,'message':{'role':'assistant','content':'Let me see what the weather is like in "
    "the town that you have named','tool_calls':[{'id':'call_1','type':'function','function':{"
    "'name':'get','arguments':'{}'}}]},'finish_reason':'tool_calls'}");

static void test_events_have_the_shape_that_openai_gives_them(void **state)
{
    const char *const chunks[CHUNKS_MAX] = {
        EVENT("{'index':0,'delta':{'role':'assistant','content':''},'finish_reason':null}", ""),
        EVENT("{'index':0,'delta':{'content':'Let me see what the weather is like in the town that "
              "you have '},'finish_reason':null}",
              ""),
        EVENT("{'index':0,'delta':{'content':'named'},'finish_reason':null}", ""),
        EVENT("{'index':0,'delta':{'tool_calls':[{'index':0,'id':'call_1','type':'function',"
              "'function':{'name':'get','arguments':''}}]},'finish_reason':null}",
              ""),
        EVENT("{'index':0,'delta':{'tool_calls':[{'index':0,'function':{'arguments':'{}'}}]},"
              "'finish_reason':null}",
              ""),
        EVENT("{'index':0,'delta':{},'finish_reason':'tool_calls'}", ""),
        DONE,
    };

    (void)state;
    assert_stream(API_CHAT, plain_with_call, &without_usage, chunks);
}

static void test_usage_is_null_until_its_own_event(void **state)
{
    const char *const chunks[CHUNKS_MAX] = {
        EVENT("{'index':0,'delta':{'role':'assistant','content':''},'finish_reason':null}",
              ",'usage':null"),
        EVENT("{'index':0,'delta':{'content':'Hi'},'finish_reason':null}", ",'usage':null"),
        EVENT("{'index':0,'delta':{},'finish_reason':'stop'}", ",'usage':null"),
        EVENT("", ",'usage':{'prompt_tokens':1,'completion_tokens':1,'total_tokens':2}"),
        DONE,
    };

    (void)state;
    assert_stream(API_CHAT,
                  PLAIN_CHAT("{'index':0,'message':{'role':'assistant','content':'Hi'},"
                             "'finish_reason':'stop'}"),
                  &with_usage, chunks);
}

static void test_tokens_travel_with_their_text(void **state)
{
    const char *const chunks[CHUNKS_MAX] = {
        EVENT("{'index':0,'delta':{'role':'assistant','content':''},'logprobs':null,"
              "'finish_reason':null}",
              ""),
        EVENT("{'index':0,'delta':{'content':"
              "'0123456789 123456789 123456789 123456789 123456789 123456789 123456789 '},"
              "'logprobs':{'content':[{'token':'0123456789 123456789 123456789 123456789 '},"
              "{'token':'123456789 123456789 123456789 '}]},'finish_reason':null}",
              ""),
        EVENT("{'index':0,'delta':{'content':'z'},'logprobs':{'content':[{'token':'z'}]},"
              "'finish_reason':null}",
              ""),
        EVENT("{'index':0,'delta':{},'logprobs':null,'finish_reason':'stop'}", ""),
        DONE,
    };

    (void)state;
    assert_stream(
        API_CHAT,
        PLAIN_CHAT("{'index':0,'message':{'role':'assistant','content':'0123456789 123456789 "
                   "123456789 123456789 123456789 123456789 123456789 z'},'logprobs':{'content':["
                   "{'token':'0123456789 123456789 123456789 123456789 '},"
                   "{'token':'123456789 123456789 123456789 '},{'token':'z'}]},"
                   "'finish_reason':'stop'}"),
        &without_usage, chunks);
}

static void test_sglangs_weight_version_stays_out_of_streams(void **state)
{
    const char *const chunks[CHUNKS_MAX] = {
        "{'object':'text_completion','id':'c','choices':[{'index':0,'text':'a',"
        "'finish_reason':null}]}",
        "{'object':'text_completion','id':'c','choices':[{'index':0,'text':'',"
        "'finish_reason':'stop','matched_stop':151645}]}",
        DONE,
    };

    (void)state;
    assert_stream(API_COMPLETIONS,
                  "{'id':'c','object':'text_completion','choices':[{'index':0,'text':'a',"
                  "'finish_reason':'stop','matched_stop':151645}],"
                  "'metadata':{'weight_version':'default'}}",
                  &without_usage, chunks);
}

static void test_timings_come_with_the_last_event(void **state)
{
    const char *const chunks[CHUNKS_MAX] = {
        "{'object':'text_completion','choices':[{'index':0,'text':'a','finish_reason':null}]}",
        "{'object':'text_completion','choices':[{'index':0,'text':'','finish_reason':'stop'}],"
        "'timings':{'prompt_ms':0.1}}",
        DONE,
    };

    (void)state;
    assert_stream(API_COMPLETIONS,
                  "{'object':'text_completion','timings':{'prompt_ms':0.1},'choices':[{'index':0,"
                  "'text':'a','finish_reason':'stop'}]}",
                  &without_usage, chunks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stream_becomes_the_plain_answer_its_server_would_have_sent),
        cmocka_unit_test(test_what_became_plain_comes_back_as_the_same),
        cmocka_unit_test(test_a_plain_answer_comes_back_as_the_same),
        cmocka_unit_test(test_events_have_the_shape_that_openai_gives_them),
        cmocka_unit_test(test_usage_is_null_until_its_own_event),
        cmocka_unit_test(test_tokens_travel_with_their_text),
        cmocka_unit_test(test_sglangs_weight_version_stays_out_of_streams),
        cmocka_unit_test(test_timings_come_with_the_last_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
