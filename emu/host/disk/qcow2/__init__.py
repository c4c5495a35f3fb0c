"""qcow2, versions 2 and 3: QEMU's format, in which a guest's writes are kept.

Read and written: clusters of 512 bytes to 2 MiB, counts of 1 to 64 bits, backing files, clusters shared with internal
snapshots, clusters of zeros.  Only read: clusters compressed by zlib and zstd (a write makes an ordinary cluster of one),
images with subclusters.  Unknown features that clear themselves, and dirty bitmaps, are dropped by the first write.
Refused: encryption, data in another file, incompatible features that nobody has told us.

Source: QEMU docs/interop/qcow2.txt.
"""
