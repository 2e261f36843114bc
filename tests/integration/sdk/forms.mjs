// SPDX-License-Identifier: MIT
// One streamed answer, put together by OpenAI's own SDK; prints what came as one JSON object.
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: process.argv[2], apiKey: 'test-key', maxRetries: 0 });
const { data, response } = await client.chat.completions.create(JSON.parse(process.argv[3]))
  .withResponse();
const { ChatCompletionStream } = await import('openai/lib/ChatCompletionStream');
const stream = ChatCompletionStream.fromReadableStream(data.toReadableStream());
const completion = await stream.finalChatCompletion();
console.log(JSON.stringify({
  cache: response.headers.get('cache-status'),
  message: completion.choices[0].message,
  finish_reason: completion.choices[0].finish_reason,
  usage: completion.usage,
}));
