//! weir's own log and the access logs.

use std::path::PathBuf;

use crate::config::check;
use crate::config::format::{Maybe, Pairs};
use crate::config::number::{Size, Time};
use crate::config::table::config_table;
use crate::config::text::{Name, Text};
use crate::config::value::{AccessLogFormat, AccessLogOutput, LogFormat, LogLevel};

config_table! {
    /// weir's own log: what the process does, not what requests do.
    pub struct Log: "log" {
        /// How its lines look.
        format: LogFormat = "auto";
        /// How much is written.
        level: LogLevel = "info";
        /// Levels of single modules, by path: `target = "debug"`.
        levels: Pairs<LogLevel>, at most 100;
        /// Where it goes; standard error if there is none.
        file: Maybe<PathBuf>;
    }
}

config_table! {
    /// One line for each request. Without such a table nothing is logged.
    pub struct AccessLog: "access_log", by "name", checked by check::access_log {
        /// What metrics call it.
        name: Name;
        /// How its lines look.
        format: AccessLogFormat = "json";
        /// A line's form where `format` is `template`: `{field}`, `{req.header.NAME}`, `{{` for a brace.
        template: Maybe<Text>, in 1 to 8192;
        /// Where it goes.
        output: AccessLogOutput = "file";
        /// The file where `output` is `file`.
        path: Maybe<PathBuf>;
        /// Octets of a buffer; each worker has two.
        buffer: Size = "64KiB", in "32KiB" to "16MiB";
        /// A line is written so late at most.
        flush: Time = "1s", in "10ms" to "10s";
    }
}
