//! The words that inputs are made of: what each format's readers look for, and what has fooled others.

#[rustfmt::skip] // words in rows, not one a line
pub(super) const HTTP: &[&str] = &[
    "GET ", "HEAD ", "POST ", "CONNECT ", "OPTIONS ", "TRACE ", " HTTP/1.1\r\n", " HTTP/1.0\r\n",
    " HTTP/1.2\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 204 No\r\n", "HTTP/1.1 304 No\r\n",
    "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Hints\r\n\r\n",
    "HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.0 200 OK\r\n",
    "Host: a\r\n", "Host: a:80\r\n", "Content-Length: 5\r\n", "Content-Length: 0\r\n",
    "Content-Length: 18446744073709551616\r\n", "Content-Length: +5\r\n", "Content-Length : 5\r\n",
    "content-length: 5, 5\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding:\tchunked\r\n", "Transfer-Encoding: chunked;q=1\r\n",
    "transfer-encoding: \"chunked\"\r\n", "Transfer-Encoding: identity\r\n", "Connection: close\r\n",
    "Connection: keep-alive\r\n", "Connection: upgrade\r\n", "Connection: host, te\r\n",
    "Connection: content-length\r\n", "Upgrade: websocket\r\n", "Upgrade: h2c\r\n",
    "Expect: 100-continue\r\n", "TE: trailers\r\n", "Trailer: x\r\n", "Keep-Alive: timeout=5\r\n",
    "X-A: b\r\n", " folded\r\n", "\r\n", "\n", "\r", "\r\n\r\n", "0\r\n\r\n", "0\r\nX-T: 1\r\n\r\n",
    "5\r\nhello\r\n", "1;a=b\r\nx\r\n", "1 ;a\r\nx\r\n", "ffffffffffffffff\r\n", "10000000000000000\r\n",
    "0x5\r\n", "00\r\n", "-1\r\n", "http://a/", "http://a?b", "https://a:443/x", "*", "a:80", "[::1]:80",
    "u@a", "/a%2fb", "#", "\0", "\u{b}", "\u{7f}", "\u{e9}", ":", ";", ",", "\t",
];

#[rustfmt::skip] // words in rows, not one a line
pub(super) const VALUES: &[&str] = &[
    "deadline=", "attempt=", ";", "inflight=", "=", "-", "+", "0", "1", "99999999", "18446744073709551615",
    "18446744073709551616", "4294967296", "S", "m", "u", "n", "H", "M", "us", "ms", "s", "h", "B", "KiB",
    "MiB", "GiB", "%", "/s", "/m", "/h", ".", "0.5", "01900000-0001-7fff-bfff-ffffffffffff", "checkout",
    ".shop", ".svc.localhost", "localhost", "127.0.0.1", "[::1]", ":80", "/orders/*", "*", "GET", " ", "\t",
    ",", "trailers", "close", "keep-alive", "timeout=5", "max=1000", "retry-after: ", "x-outrigger-load: ", "keep-alive: ", "grpc-status: ",
    "x-outrigger-reason: ", "connection", "\u{e9}", "\0",
];

#[rustfmt::skip] // words in rows, not one a line
pub(super) const YAML: &[&str] = &[
    "kind: Policy\n", "name: a\n", "namespace: shop\n", "match: { service: s }\n", "routes:\n- name: r\n",
    "retry:\n", "  attempts: 3\n", "budget: 20%", "timeout: { total: 2s }\n", "---\n", "...\n", "- ", "  ",
    ": ", "{", "}", "[", "]", "&a ", "*a", "!!str ", "!x ", "|\n", ">\n", "\"", "'", "# c\n", "~", "null",
    "true", "0x1f", "1e9", ".nan", ".inf", "<<: *a\n", "? ", "\t", "\r\n", "\u{feff}", "\u{85}", "\u{2028}",
    "%YAML 1.2\n", "threads: 1\n", "outbound:\n", "control_plane:\n", "18446744073709551616", "-1", "\0",
    "\u{e9}", ",",
];

#[rustfmt::skip] // words in rows, not one a line
pub(super) const JSON: &[&str] = &[
    "{", "}", "[", "]", ":", ",", "\"", "null", "true", "-1", "0", "1e999", "18446744073709551616",
    "\\u0000", "\\ud800", "\"kind\":", "\"list\"", "\"policies\"", "\"ping\"", "\"service\":", "\"digest\":",
    "\"base\":", "\"upsert\":[", "\"remove\":[", "\"cause\":", "\"absent\"", "\"key\":", "\"complete\":true",
    "\"known\":true", "\"node\":", "\"instances\":", "\"00000000000000000000000000000000\"", "\"checkout\"",
    "\"10.0.0.1\"", "\n", "\u{e9}", "\"2s\"",
];

#[rustfmt::skip] // words in rows, not one a line
pub(super) const FIELDS: &[&str] = &[
    ":method: GET\n", ":method: POST\n", ":method: CONNECT\n", ":method: OPTIONS\n", ":path: /\n", ":path: *\n", ":path: a\n",
    ":scheme: http\n", ":authority: a\n", ":authority: a:80\n", ":authority: u@a\n", ":protocol: websocket\n", ":status: 200\n",
    ":status: 204\n", ":status: 103\n", ":status: 101\n", ":status: 600\n", "sec-websocket-accept: a\n",
    "host: a\n", "host: b\n", "content-length: 5\n", "content-length: 0\n", "content-length: +5\n", "content-length: 5, 5\n",
    "transfer-encoding: chunked\n", "connection: close\n", "keep-alive: 1\n", "upgrade: h2c\n", "te: trailers\n", "te: gzip\n",
    "cookie: a=b\n", "expect: 100-continue\n", "x-a: b\n", "X-A: b\n", "x a: b\n", ": b\n", "\u{1e}", "\u{1e}\u{1e}", "...", "hello",
    "\r\n", "\r", "\0", " ", "\t", ":", "\u{e9}", "\u{7f}", "grpc-status: 0\n", "/a b", "/#", "HTTP/1.1",
];
