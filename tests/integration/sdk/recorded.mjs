// SPDX-License-Identifier: MIT
// Streamed answers to the requests on standard input, each put together by OpenAI's own SDK; prints
// what came as one JSON array.
import { readFileSync } from 'node:fs';
import OpenAI from 'openai';
import { ChatCompletionStream } from 'openai/lib/ChatCompletionStream';

const client = new OpenAI({ baseURL: process.argv[2], apiKey: 'test-key', maxRetries: 0 });
const seen = [];
for (const body of JSON.parse(readFileSync(0, 'utf8'))) {
  const { data, response } = await client.chat.completions.create(body).withResponse();
  const stream = ChatCompletionStream.fromReadableStream(data.toReadableStream());
  seen.push({
    cache: response.headers.get('cache-status'),
    completion: await stream.finalChatCompletion(),
  });
}
console.log(JSON.stringify(seen));
