//! Threads whose work is files: the log writer.
