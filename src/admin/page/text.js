// SPDX-License-Identifier: MIT
// Numbers, times and words as people read them. Pure.

const NONE = '–';

const isKnown = (value) => value !== null && value !== undefined;

function msText(ms) {
    if (!isKnown(ms)) return NONE;
    if (ms >= 10000) return `${(ms / 1000).toFixed(1)}\u00a0s`;
    return `${ms.toFixed(ms < 10 ? 2 : ms < 100 ? 1 : 0)}\u00a0ms`;
}

function spanText(seconds) {
    if (!isKnown(seconds)) return NONE;
    const s = Math.floor(seconds);
    const days = Math.floor(s / 86400);
    const hours = Math.floor(s / 3600) % 24;
    const minutes = Math.floor(s / 60) % 60;
    if (days > 0) return `${days} d ${hours} h`;
    if (hours > 0) return `${hours} h ${minutes} min`;
    // Seconds are noise once it is more than ten minutes.
    if (minutes >= 10) return `${minutes}\u00a0min`;
    return minutes > 0 ? `${minutes}\u00a0min ${s % 60}\u00a0s` : `${s}\u00a0s`;
}

// For what is past: one unit is enough.
function agoText(seconds) {
    const s = Math.max(0, Math.floor(seconds));
    if (s < 60) return `${s} s ago`;
    if (s < 3600) return `${Math.floor(s / 60)} min ago`;
    return s < 86400 ? `${Math.floor(s / 3600)} h ago` : `${Math.floor(s / 86400)} d ago`;
}

const secondsText = (ms) => isKnown(ms) ? `${(ms / 1000).toFixed(1)} s` : NONE;

function bytesText(bytes) {
    if (!isKnown(bytes)) return NONE;
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let unit = 0;
    while (bytes >= 1024 && unit < units.length - 1) {
        bytes /= 1024;
        unit++;
    }
    return `${bytes.toFixed(unit === 0 ? 0 : 1)} ${units[unit]}`;
}

// 12345678 is "12.3 M": a glance is for the size; status.json has the digits.
function countText(count) {
    if (!isKnown(count)) return NONE;
    if (count >= 1e9) return `${(count / 1e9).toFixed(1)} G`;
    if (count >= 1e6) return `${(count / 1e6).toFixed(1)} M`;
    if (count >= 1e4) return `${(count / 1e3).toFixed(1)} k`;
    return String(count);
}

function rateText(rate) {
    if (!isKnown(rate)) return NONE;
    return rate >= 100 ? countText(Math.round(rate)) : rate.toFixed(1);
}

function ratioText(ratio) {
    if (!isKnown(ratio)) return NONE;
    const percent = 100 * ratio;
    return `${percent > 0 && percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`;
}

// "connect_refused" is a word of the log; people read "connect refused".
const plainWord = (word) => (word ?? '').replaceAll('_', ' ');

const clockText = (iso) =>
    new Date(iso).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });

function dayText(iso) {
    return new Date(iso).toLocaleDateString([], { year: 'numeric', month: 'short', day: 'numeric' });
}

const plural = (count, one, many) => `${countText(count)} ${count === 1 ? one : many}`;
