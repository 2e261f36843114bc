// SPDX-License-Identifier: MIT
// The path latency of the last minutes, against the budget. The edge keeps them (history.json); the
// page goes on from there by itself.

const CURVE_SAMPLES = 150;
const CURVE_SAMPLES_MIN = 30; // a young edge's curve is not a speck at the right
const CURVE_STEP_MS = 2000;
const CURVE_WIDTH = 300;
const CURVE_HEIGHT = 56;

const curves = new Map(); // by region: its latencies, oldest first, null where unknown
let curveTakenAt = -Infinity;

const knownCount = (samples) => (samples ?? []).filter(isKnown).length;

// A young edge may have sampled less than the page has seen.
function loadCurves(history) {
    for (const { name, path_latency_ms: kept } of history.regions) {
        if (knownCount(kept) >= knownCount(curves.get(name))) curves.set(name, kept ?? []);
    }
    curveTakenAt = -Infinity; // the next status goes on from here
}

function extendCurves(status, now) {
    if (now - curveTakenAt < CURVE_STEP_MS) return;
    curveTakenAt = now;
    for (const region of status.regions) {
        const curve = curves.get(region.name) ?? [];
        curve.push(region.path_latency_ms);
        curves.set(region.name, curve.slice(-CURVE_SAMPLES));
    }
}

// The budget's line is always in the picture, at the same height unless something is far above it.
function curveTop(samples, budget) {
    return Math.max(budget * 1.6, ...samples.filter(isKnown).map((ms) => ms * 1.12));
}

function curvePaths(samples, top) {
    const places = Math.max(samples.length, CURVE_SAMPLES_MIN);
    const step = CURVE_WIDTH / (places - 1);
    const first = places - samples.length;
    let line = '';
    let area = '';
    let begun = null;
    samples.forEach((ms, index) => {
        const x = ((first + index) * step).toFixed(1);
        if (!isKnown(ms)) {
            if (begun !== null) area += `V${CURVE_HEIGHT}H${begun}Z`;
            begun = null;
            return;
        }
        const y = (CURVE_HEIGHT * (1 - ms / top)).toFixed(1);
        const move = begun === null ? 'M' : 'L';
        line += `${move}${x} ${y}`;
        area += `${move}${x} ${y}`;
        begun ??= x;
        if (index === samples.length - 1) area += `V${CURVE_HEIGHT}H${begun}Z`;
    });
    return { line, area };
}

function curveLabel(samples, budget) {
    const known = samples.filter(isKnown);
    if (known.length === 0) return 'Path latency: not measured yet';
    return `Path latency of the last minutes: ${msText(Math.min(...known))} to ` +
        `${msText(Math.max(...known))}, budget ${budget} ms`;
}

function makeCurve() {
    const line = makeSvg('path', { class: 'line' });
    const area = makeSvg('path', { class: 'area' });
    const limit = makeSvg('line', { class: 'limit', x1: 0, x2: CURVE_WIDTH });
    const viewBox = `0 0 ${CURVE_WIDTH} ${CURVE_HEIGHT}`;
    const svg = makeSvg('svg', { viewBox, preserveAspectRatio: 'none', role: 'img' }, area, limit, line);
    const mark = make('span.mark-budget', { 'aria-hidden': 'true' });
    return {
        node: make('div.curve', {}, svg, mark),
        update(region, budget) {
            const samples = curves.get(region.name) ?? [];
            const top = curveTop(samples, budget);
            const paths = curvePaths(samples, top);
            const y = CURVE_HEIGHT * (1 - budget / top);
            setAttribute(line, 'd', paths.line);
            setAttribute(area, 'd', paths.area);
            setAttribute(limit, 'y1', y.toFixed(1));
            setAttribute(limit, 'y2', y.toFixed(1));
            setAttribute(svg, 'aria-label', curveLabel(samples, budget));
            setText(mark, `${budget} ms`);
            setProperty(mark, '--y', `${(100 * y / CURVE_HEIGHT).toFixed(1)}%`);
        },
    };
}
