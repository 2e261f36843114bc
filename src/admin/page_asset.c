/* SPDX-License-Identifier: MIT */
/*
 * Style and script as they stand between their tags: the page's policy names them by their SHA-256,
 * so each must be sent byte for byte.
 *
 * The script asks for /status.json each second while the page is seen. Elements name the member
 * they show (data-path) and how to write it (data-kind, the words of page_value.c). When more than
 * numbers changed (a state, a config, an address, an event), it fetches the page and takes its
 * <main>, so that there is one template, in C.
 */
#include "page_asset_private.h"

const char page_style[] =
    ":root{color-scheme:light dark;--line:light-dark(#ddd,#3a3a3a);--soft:light-dark(#666,#a0a0a0);"
    "--good:light-dark(#0a7d33,#4cc774);--bad:light-dark(#c01a1a,#ff7b72);"
    "--warn:light-dark(#8a5a00,#e3a83b)}"
    "@supports not (color:light-dark(#000,#fff)){:root{--line:#8886;--soft:#888;--good:#1a9a4a;"
    "--bad:#d33;--warn:#b70}}"
    "body{font:14px/1.5 system-ui,sans-serif;margin:0 auto;max-width:75rem;padding:1rem}"
    "h1{font-size:1.3rem;margin:0}h2{font-size:1rem;margin:1.8rem 0 .4rem}"
    "header{display:flex;gap:1rem;align-items:baseline;flex-wrap:wrap}"
    "header p{margin:0;color:var(--soft)}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);"
    "vertical-align:top;white-space:nowrap}"
    "th{font-weight:600;color:var(--soft)}td.wrap{white-space:normal;word-break:break-word}"
    ".num{font-variant-numeric:tabular-nums}"
    ".lead{font-size:1.15rem;margin:1rem 0 .2rem}.soft{color:var(--soft)}"
    ".up,.good{color:var(--good);font-weight:600}.down,.bad{color:var(--bad);font-weight:600}"
    ".degraded,.warming,.drained,.warn{color:var(--warn);font-weight:600}"
    ".unknown{color:var(--soft);font-weight:600}"
    "meter{width:8rem;vertical-align:middle}"
    "dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:.6rem;margin:0}"
    "dt{color:var(--soft)}dd{margin:0;font-variant-numeric:tabular-nums}";

const char page_script[] =
    "(function(){'use strict';"
    "var live=document.getElementById('live'),known=null;"
    "function at(value,path){return path.split('/').reduce(function(part,key){"
    "return part===null||part===undefined?null:part[key];},value);}"
    "function span(s){s=Math.floor(s);var d=Math.floor(s/86400),h=Math.floor(s/3600)%24,"
    "m=Math.floor(s/60)%60;"
    "if(d)return d+' d '+h+' h';if(h)return h+' h '+m+' min';"
    "if(m)return m+' min '+(s%60)+' s';return s+' s';}"
    "function size(b){var u=['B','KiB','MiB','GiB','TiB'],i=0;"
    "while(b>=1024&&i<4){b/=1024;i++;}return(i?b.toFixed(1):b)+' '+u[i];}"
    "var say={text:String,count:String,"
    "ms:function(v){return v.toFixed(1)+' ms';},"
    "seconds:span,bytes:size,"
    "ratio:function(v){return(100*v).toFixed(1)+' %';}};"
    "function shape(s){return JSON.stringify([s.edge.config_generation,s.edge.draining,"
    "s.edge.last_reload,s.home,Object.keys(s.limits_hit),s.cache.enabled,"
    "s.events.length?s.events[s.events.length-1].number:0,"
    "s.regions.map(function(r){return[r.name,r.state,r.near,r.latency_source,r.redis,"
    "r.endpoints.map(function(e){return[e.address,e.host,e.state,e.reason];})];})]);}"
    "function patch(status){document.querySelectorAll('[data-path]').forEach(function(element){"
    "var value=at(status,element.dataset.path);"
    "if(element.tagName==='METER'){element.value=value||0;return;}"
    "var text=value===null||value===undefined?'\\u2013':say[element.dataset.kind](value);"
    "if(element.textContent!==text)element.textContent=text;});}"
    "function redraw(){return fetch('/').then(function(answer){return answer.text();})"
    ".then(function(text){"
    "var fresh=new DOMParser().parseFromString(text,'text/html').querySelector('main');"
    "document.querySelector('main').replaceWith(document.adoptNode(fresh));});}"
    "function tick(){if(document.hidden){setTimeout(tick,1000);return;}"
    "fetch('/status.json').then(function(answer){return answer.json();}).then(function(status){"
    "var now=shape(status),was=known;known=now;live.textContent='live';"
    "if(now!==was)return redraw().then(function(){patch(status);});patch(status);})"
    ".catch(function(){known=null;live.textContent='no answer since '+"
    "(live.dataset.since=live.dataset.since||new Date().toLocaleTimeString());})"
    ".then(function(){if(known!==null)delete live.dataset.since;setTimeout(tick,1000);});}"
    "tick();})();";
