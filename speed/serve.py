"""The server with 1, 8 and 64 clients, against the bare backbone on batches of as many pictures.

`python -m speed.serve` prints latencies as well: p50 and p99 in milliseconds, pictures per second, and their share of
the rate of the bare backbone; both sides have as many pictures at a time as there are clients.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import multiprocessing
import multiprocessing.connection
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from PIL import Image

from firstsight.data import ClassEmbeddings, TrainingSet
from firstsight.features.load import load_backbone
from firstsight.methods import ESZSL
from firstsight.recogniser.recogniser import Recogniser
from speed import Case

BACKBONE = "random:resnet18"  # as fast as the trained one
CLIENTS = (1, 8, 64)
N = 128  # pictures, all different, because the server caches its answers


def cases() -> Iterator[Case]:
    with served() as port:
        for clients in CLIENTS:
            yield Case(
                f"{N} pictures, {clients} clients, {BACKBONE}",
                lambda clients=clients: asked(port, clients, fresh_pictures(N)),
                lambda clients=clients: bare(clients, fresh_pictures(N)),
                repeats=1,
            )


def asked(port: int, clients: int, pictures: list[bytes]) -> list[float]:
    """Return the seconds of each answer when so many clients send one picture after the other."""
    waiting = iter(pictures)
    lock = threading.Lock()
    seconds: list[float] = []

    def client(_: int) -> None:
        line = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            with lock:
                content = next(waiting, None)
            if content is None:
                line.close()
                return
            head = b'--x\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\n'
            start = time.perf_counter()
            line.request(
                "POST",
                "/v1/predict",
                head + content + b"\r\n--x--\r\n",
                {"content-type": "multipart/form-data; boundary=x"},
            )
            answer = line.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the server answered {answer.status}")
            seconds.append(time.perf_counter() - start)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return seconds


def bare(batch: int, pictures: list[bytes]) -> None:
    """Do the same work without a server: decode, prepare and recognise pictures, so many at a time."""
    known = recogniser()
    for start in range(0, len(pictures), batch):
        part = [Image.open(io.BytesIO(content)) for content in pictures[start : start + batch]]
        known.probabilities(known.features(part))


_made = 0


def fresh_pictures(n: int) -> list[bytes]:
    """Make JPEG files of 500 x 375 that are new to the server and differ in a few pixels."""
    global _made
    _made += 1
    rng = np.random.default_rng([_made, time.time_ns()])
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)).resize((500, 375))
    pictures = []
    for _ in range(n):
        changed = noise.copy()
        changed.paste(tuple(rng.integers(0, 255, 3).tolist()), (*rng.integers(0, 300, 2).tolist(), 340, 340))
        file = io.BytesIO()
        changed.save(file, "JPEG")
        pictures.append(file.getvalue() + rng.bytes(8))
    return pictures


@cache
def recogniser() -> Recogniser:
    """Make a recogniser of 200 classes with 312 attributes on features of the backbone's width."""
    rng = np.random.default_rng(0)
    backbone = load_backbone(BACKBONE, "cpu")
    vectors = rng.random((200, 312))
    classes = ClassEmbeddings(tuple(f"class {row}" for row in range(200)), vectors)
    features = rng.random((600, backbone.width), dtype=np.float32)
    training = TrainingSet(features, np.repeat(np.arange(150), 4), classes[np.arange(150)], features, (backbone.width,))
    method = ESZSL(device="cpu").fit(training)
    source = {"backbone": BACKBONE, "crops": "1", "transform": backbone.transform}
    return Recogniser(method, classes, np.arange(200) < 150, feature_source=source)


@contextlib.contextmanager
def served() -> Iterator[int]:
    """Start a server in its own process, with as many threads as this one, and give its port."""
    start = multiprocessing.get_context("spawn")
    ours, theirs = start.Pipe()
    process = start.Process(target=serve, args=(theirs, torch.get_num_threads()), daemon=True)
    process.start()
    theirs.close()  # so that recv fails if the process ends
    port = ours.recv()
    asked(port, 1, fresh_pictures(2))  # warm up
    try:
        yield port
    finally:
        process.terminate()
        process.join()


def serve(line: multiprocessing.connection.Connection, threads: int) -> None:
    """Run the server in its process."""
    from firstsight.serve import Limits, make_app, run

    torch.set_num_threads(threads)
    limits = Limits(at_once=max(CLIENTS), batch=max(CLIENTS), timeout=300)
    run(make_app(recogniser(), limits), port=0, ready=lambda address: line.send(int(address.rsplit(":", 1)[1])))


def main() -> None:
    print(f"torch {torch.__version__} with {torch.get_num_threads()} threads, {BACKBONE}, {N} pictures of 500 x 375")
    print(f"{'clients':>8}{'p50 ms':>10}{'p99 ms':>10}{'pictures/s':>12}{'bare backbone':>16}{'share':>8}")
    bare(1, fresh_pictures(2))  # warm up, as the server did
    with served() as port:
        for clients in CLIENTS:
            pictures = fresh_pictures(N)
            start = time.perf_counter()
            seconds = asked(port, clients, pictures)
            rate = N / (time.perf_counter() - start)
            start = time.perf_counter()
            bare(clients, pictures)
            other = N / (time.perf_counter() - start)
            p50, p99 = np.percentile(seconds, [50, 99]) * 1000
            print(f"{clients:>8}{p50:>10.0f}{p99:>10.0f}{rate:>12.1f}{other:>16.1f}{rate / other:>8.0%}", flush=True)


if __name__ == "__main__":
    main()
