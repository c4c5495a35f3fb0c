"""Traces: what a machine did, block by block, recorded at a fraction of its time and read afterwards.

    sink.py     takes the recorder's streams and hands them to a process of its own
    writer.py   that process: Parquet parts and meta.json, each written under a temporary name and renamed
    layout.py   what the two say to each other, and what the files hold

A trace is a directory.  `blocks-*.parquet`: the number of every block that ran, in order, and nothing else: entry i of the
part that begins at position p is the block at p + i, and meta.json tells each part's position.  `code-*.parquet`: what each
number stands for, with its bytes as they were when they ran.  `events-*.parquet`: exceptions, interrupts, accesses, with
position and time.
"""
