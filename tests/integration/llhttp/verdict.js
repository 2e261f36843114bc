// SPDX-License-Identifier: MIT
// What llhttp, as Node runs it with nothing lenient, says of byte streams: the same cases on stdin
// and the same lines on stdout as tests/verdict/verdict.c.
'use strict';
process.removeAllListeners('warning');
const binding = process.binding('http_parser');
const { HTTPParser } = binding;
const METHODS = binding.allMethods || binding.methods;
const START = 2166136261;

function digest(sum, bytes) {
  for (const byte of bytes) sum = Math.imul(sum ^ byte, 16777619) >>> 0;
  return sum;
}

const hex = (sum) => (sum >>> 0).toString(16).padStart(8, '0');

function newParser(kind, messages) {
  const parser = new HTTPParser();
  let now = null;
  let early = [];
  let earlyUrl = '';
  parser.initialize(kind === 'q' ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, 65536, 0);
  const finishFields = () => {
    let sum = START;
    for (let i = 0; i + 1 < now.fields.length; i += 2) {
      sum = digest(sum, Buffer.from(`${now.fields[i]}:${now.fields[i + 1]}\n`, 'latin1'));
    }
    return sum;
  };
  // More than 32 fields, and trailers, come by kOnHeaders; trailers are no part of the verdict.
  parser[HTTPParser.kOnHeaders] = (fields, url) => {
    if (now === null) {
      early.push(...fields);
      earlyUrl = url || earlyUrl;
    }
  };
  parser[HTTPParser.kOnHeadersComplete] =
    (major, minor, fields, method, url, status, reason, upgrade) => {
      now = { fields: early.concat(fields || []), body: 0, sum: START, upgrade,
              line: kind === 'q' ? `${METHODS[method]} ${url || earlyUrl}` : `${status}` };
      early = [];
      earlyUrl = '';
      return 0;
    };
  parser[HTTPParser.kOnBody] = (chunk, offset, length) => {
    const bytes = offset === undefined ? chunk : chunk.subarray(offset, offset + length);
    now.body += bytes.length;
    now.sum = digest(now.sum, bytes);
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    messages.push(`${now.line} ${now.body} ${hex(finishFields())} ${hex(now.sum)}`);
    now = null;
  };
  return parser;
}

function judge(kind, bytes) {
  const messages = [];
  const parser = newParser(kind, messages);
  let end = 'ok';
  const used = parser.execute(bytes, 0, bytes.length);
  if (used instanceof Error) {
    end = used.code === 'HPE_CLOSED_CONNECTION' ? 'closed' : used.code;
  } else if (used < bytes.length) {
    end = 'upgrade';
  } else {
    const rest = parser.finish();
    if (rest instanceof Error) end = rest.code === 'HPE_INVALID_EOF_STATE' ? 'more' : rest.code;
  }
  parser.free?.();
  return [end, ...messages].join('\t');
}

const input = require('fs').readFileSync(0);
const lines = [];
for (let at = 0; at < input.length;) {
  const kind = String.fromCharCode(input[at]);
  const length = input.readUInt32BE(at + 1);
  lines.push(judge(kind, input.subarray(at + 5, at + 5 + length)));
  at += 5 + length;
}
process.stdout.write(Buffer.from(lines.map((line) => `${line}\n`).join(''), 'latin1'));
