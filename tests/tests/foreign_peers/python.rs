//! Python's grpcio and websockets, client and server, through weir.

use weir_tests::{Config, Weir, servers};

use super::stand::{BOTH, Begun, MINUTE, Stand};

/// A service of four methods that carry octets as they are: no message needs a schema.
const GRPC_SERVER: &str = r#"
import grpc, sys
from concurrent import futures

def unary(request, context):
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no, \u00e4 thousand times")
    context.set_trailing_metadata((("x-trailer", "1"), ("x-octets-bin", b"\x00\xff")))
    context.send_initial_metadata((("x-head", dict(context.invocation_metadata()).get("x-sent", "")),))
    return request[::-1]

def parts(request, context):
    for n in range(int(request)):
        yield b"%d" % n

def sum_up(requests, context):
    return b"%d" % sum(len(request) for request in requests)

def chat(requests, context):
    for request in requests:
        yield request.upper()

def slow(request, context):
    import time
    while context.is_active():
        time.sleep(0.05)
    return b""

handlers = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Parts": grpc.unary_stream_rpc_method_handler(parts),
    "SumUp": grpc.stream_unary_rpc_method_handler(sum_up),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
}
server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", 1 << 26)])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("weir.Test", handlers),))
server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
"#;

const GRPC_CLIENT: &str = r#"
import grpc, queue, sys, threading

target, authority = sys.argv[1], sys.argv[2]
options = [("grpc.max_receive_message_length", 1 << 26)]
if authority:
    credentials = grpc.ssl_channel_credentials(open(authority, "rb").read())
    channel = grpc.secure_channel(target, credentials, options)
else:
    channel = grpc.insecure_channel(target, options)

unary = channel.unary_unary("/weir.Test/Unary")
reply, call = unary.with_call(b"hello", metadata=(("x-sent", "seen"),), timeout=20)
assert reply == b"olleh", reply
assert dict(call.initial_metadata())["x-head"] == "seen", call.initial_metadata()
trailers = dict(call.trailing_metadata())
assert trailers["x-trailer"] == "1" and trailers["x-octets-bin"] == b"\x00\xff", trailers

large = bytes(range(256)) * 40000
assert unary(large, timeout=30) == large[::-1]
assert unary(b"", timeout=20) == b""

try:
    unary(b"fail", timeout=20)
    raise SystemExit("it did not fail")
except grpc.RpcError as e:
    assert e.code() == grpc.StatusCode.FAILED_PRECONDITION, e
    assert e.details() == "no, \u00e4 thousand times", e.details()

parts = list(channel.unary_stream("/weir.Test/Parts")(b"500", timeout=20))
assert parts == [b"%d" % n for n in range(500)], len(parts)
total = channel.stream_unary("/weir.Test/SumUp")(iter([b"x" * 1000] * 300), timeout=20)
assert total == b"300000", total

# Each word waits for the answer to the one before: nothing may be held back in between.
words = queue.Queue()
answers = channel.stream_stream("/weir.Test/Chat")(iter(words.get, None), timeout=30)
for word in [b"one", b"two", b"three"]:
    words.put(word)
    assert next(answers) == word.upper()
words.put(None)
assert list(answers) == []

try:
    channel.unary_unary("/weir.Test/Slow")(b"", timeout=0.7)
    raise SystemExit("it had no deadline")
except grpc.RpcError as e:
    assert e.code() == grpc.StatusCode.DEADLINE_EXCEEDED, e

cancelled = channel.unary_unary("/weir.Test/Slow").future(b"", timeout=20)
threading.Timer(0.3, cancelled.cancel).start()
try:
    cancelled.result()
    raise SystemExit("it was not cancelled")
except grpc.FutureCancelledError:
    pass

calls = [unary.future(b"%d" % n, timeout=30) for n in range(300)]
assert [call.result() for call in calls] == [(b"%d" % n)[::-1] for n in range(300)]
print("all is well")
"#;

#[test]
fn grpcio_calls_grpcio_in_every_way() {
    let server = servers::system_python(GRPC_SERVER);
    for begun in BOTH {
        let config = Config::forwarding(server.url()).with("protocol = \"h2c\"");
        let stand = Stand::new(begun, config);
        let authority = if begun == Begun::Agreed { stand.authority() } else { String::new() };
        let target = stand.weir.web().to_string();
        let said = servers::run_system_python(GRPC_CLIENT, &[&target, &authority], MINUTE);
        assert!(said.contains("all is well"), "{begun:?}: {said}");
        assert_eq!(stand.weir.reason("h2_flood"), 0);
    }
}

#[test]
fn grpcio_reads_weirs_own_errors_as_statuses() {
    let client = r#"
import grpc, sys
try:
    grpc.insecure_channel(sys.argv[1]).unary_unary("/weir.Test/Unary")(b"x", timeout=20)
except grpc.RpcError as e:
    print(e.code().name, e.details())
"#;
    let ask = |weir: &Weir| servers::run_system_python(client, &[&weir.web().to_string()], MINUTE);
    let nowhere = weir_tests::ports::Port::reserve();
    let weir = Config::forwarding(format!("http://{}", nowhere.address())).with("protocol = \"h2c\"").h2c().start();
    assert_eq!(ask(&weir).trim(), "UNAVAILABLE upstream_connect_refused");
    let weir = Config::new().route(1, "path_prefix = \"/else\"", &["http://127.0.0.1:1"]).h2c().start();
    assert_eq!(ask(&weir).trim(), "UNIMPLEMENTED no_route");
}

const WEBSOCKET_SERVER: &str = r#"
import asyncio, sys, websockets

async def shout(socket):
    async for message in socket:
        await socket.send(message.upper() if isinstance(message, str) else message[::-1])

async def main():
    host, port = sys.argv[1].split(":")
    async with websockets.serve(shout, host, int(port), subprotocols=["shout"], max_size=1 << 24):
        await asyncio.Future()

asyncio.run(main())
"#;

const WEBSOCKET_CLIENT: &str = r#"
import asyncio, ssl, sys, websockets

async def main():
    url, authority = sys.argv[1], sys.argv[2]
    context = ssl.create_default_context(cafile=authority) if authority else None
    async with websockets.connect(url, ssl=context, subprotocols=["shout"], max_size=1 << 24) as socket:
        assert socket.subprotocol == "shout", socket.subprotocol
        for text in ["hello", "", "\u00e4" * 10000]:
            await socket.send(text)
            assert await socket.recv() == text.upper()
        octets = bytes(range(256)) * 8000
        await socket.send(octets)
        assert await socket.recv() == octets[::-1]
        await (await socket.ping())
    assert socket.close_code == 1000, socket.close_code
    print("all is well")

asyncio.run(main())
"#;

#[test]
fn python_websockets_talk_through_weir() {
    let server = servers::system_python(WEBSOCKET_SERVER);
    for begun in BOTH {
        let stand = Stand::new(begun, Config::forwarding(server.url()));
        let authority = if begun == Begun::Agreed { stand.authority() } else { String::new() };
        let url = stand.url("/chat").replace("http", "ws");
        let said = servers::run_system_python(WEBSOCKET_CLIENT, &[&url, &authority], MINUTE);
        assert!(said.contains("all is well"), "{said}");
        stand.weir.wait_log("the tunnel", |line| line["status"] == 101 && line["reason"] == "ok");
    }
}
