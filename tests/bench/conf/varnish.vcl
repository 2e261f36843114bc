# Varnish 7.1: cache hits from memory. The pod's answer says how long it may be kept.
vcl 4.1;

backend pod {
    .host = "127.0.0.1";
    .port = "@POD@";
}
