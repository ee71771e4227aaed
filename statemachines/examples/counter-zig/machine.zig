//! The counter of ../counter, in Zig: same commands, same answers.

const std = @import("std");
const pgraft = @import("pgraft");

pub const name = "counter";
pub const version = "1.0.0";
pub const api =
    \\commands {"add":NAME} {"reset":NAME}, query {"get":NAME}
;
pub const keyed = true;

const empty_name = 101;
const long_name = 102;
const name_bytes_max = 64;

const Command = union(enum) { add: []const u8, reset: []const u8 };
const Query = union(enum) { get: []const u8 };

fn parse(comptime T: type, payload: []const u8) ?T {
    return std.json.parseFromSliceLeaky(T, pgraft.memory, payload, .{}) catch null;
}

fn count(of: []const u8) u64 {
    const row = pgraft.storage.get(of) orelse return 0;
    return std.mem.readInt(u64, row[0..8], .little);
}

fn text(number: u64) []const u8 {
    return std.fmt.allocPrint(pgraft.memory, "{d}", .{number}) catch @panic("out of memory");
}

pub fn apply(_: pgraft.Context, _: pgraft.Caller, payload: []const u8) pgraft.Outcome {
    const command = parse(Command, payload) orelse
        return .reject(pgraft.malformed, "malformed: not a command of the counter");
    const of = switch (command) {
        inline else => |of| of,
    };
    if (of.len == 0) return .reject(empty_name, "a counter has a name");
    if (of.len > name_bytes_max) return .reject(long_name, "a name has at most 64 bytes");
    const before = count(of);
    switch (command) {
        .add => {
            const after = before + 1;
            pgraft.storage.put(of, std.mem.asBytes(&after));
            pgraft.events.emit(of, text(after));
            return .{ .ok = text(after) };
        },
        .reset => {
            _ = pgraft.storage.delete(of);
            pgraft.events.emit(of, "0");
            return .{ .ok = text(before) };
        },
    }
}

pub fn query(_: pgraft.Context, request: []const u8) pgraft.Outcome {
    const asked = parse(Query, request) orelse
        return .reject(pgraft.malformed, "malformed: not a query of the counter");
    return .{ .ok = text(count(asked.get)) };
}

pub fn commandKey(payload: []const u8) ?[]const u8 {
    const command = parse(Command, payload) orelse return null;
    return switch (command) {
        inline else => |of| of,
    };
}

pub fn queryKey(request: []const u8) ?[]const u8 {
    return (parse(Query, request) orelse return null).get;
}
