"""Enqueues the benchmark's tasks in another queue, by its module here, and prints how long."""

import importlib
import json
import sys
import time

if __name__ == "__main__":
    enqueue = importlib.import_module(sys.argv[1]).enqueue
    began = time.perf_counter()
    for label in range(int(sys.argv[2])):
        enqueue(label)
    print(json.dumps({"seconds": time.perf_counter() - began}))
