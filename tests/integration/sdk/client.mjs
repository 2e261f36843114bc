// SPDX-License-Identifier: MIT
// Talks to the proxy with OpenAI's own SDK; prints one JSON object with what it saw.
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: process.argv[2], apiKey: 'test-key', maxRetries: 0 });
const messages = [{ role: 'user', content: 'Hello from the SDK' }];
const seen = {};

const plain = await client.chat.completions.create({ model: 'sim', messages, max_tokens: 9 });
seen.plain = { text: plain.choices[0].message.content, usage: plain.usage.completion_tokens };

const stream = await client.chat.completions.create({
  model: 'sim', messages, max_tokens: 9, stream: true, stream_options: { include_usage: true },
});
seen.stream = { text: '', usage: null };
for await (const chunk of stream) {
  seen.stream.text += chunk.choices[0]?.delta?.content ?? '';
  seen.stream.usage = chunk.usage?.completion_tokens ?? seen.stream.usage;
}

const aborted = await client.chat.completions.create({
  model: 'sim', messages, max_tokens: 1000, stream: true,
}, { headers: { 'X-Pod-Gap-Ms': '50' } });
let chunks = 0;
for await (const chunk of aborted) {
  chunks += chunk.choices[0]?.delta?.content ? 1 : 0;
  if (chunks === 3) aborted.controller.abort();
}
seen.aborted = { chunks };

const embeddings = await client.embeddings.create({ model: 'sim', input: ['one', 'two'] });
seen.embeddings = embeddings.data.map((item) => item.embedding);
const floats = await client.embeddings.create({
  model: 'sim', input: ['one', 'two'], encoding_format: 'float',
});
seen.floats = floats.data.map((item) => item.embedding);

const response = await client.responses.create({ model: 'sim', input: 'Hi', max_output_tokens: 5 });
seen.response = response.output_text;
const events = await client.responses.create({
  model: 'sim', input: 'Hi', max_output_tokens: 5, stream: true,
});
seen.responseStream = '';
for await (const event of events) {
  if (event.type === 'response.output_text.delta') seen.responseStream += event.delta;
}

try {
  await client.chat.completions.create({ model: 'sim', messages }, {
    headers: { 'X-Pod-Status': '401' },
  });
} catch (error) {
  seen.error = { name: error.constructor.name, status: error.status };
}
seen.models = (await client.models.list()).data.map((model) => model.id);
console.log(JSON.stringify(seen));
