//! Makes a module of a machine: its exports, the memory of the glue, and what a panic does.
//! Not here: what a machine is written with (pgraft.zig).

const std = @import("std");
const pgraft = @import("pgraft");

comptime {
    pgraft.machine(@import("machine"));
}

/// A panic says why in the node's log and ends the call: the command is undone.
pub const panic = std.debug.FullPanic(struct {
    fn say(message: []const u8, _: ?usize) noreturn {
        pgraft.log.write(.@"error", message);
        @trap();
    }
}.say);

/// Length of an allocation, kept before it.
const Head = extern struct { length: usize, _: [8]u8 = undefined };
const alignment: std.mem.Alignment = .@"16";
const head_bytes = 16;

export fn malloc(size: usize) ?*anyopaque {
    const memory = pgraft.memory.alignedAlloc(u8, alignment, head_bytes + size) catch return null;
    const head: *Head = @ptrCast(memory.ptr);
    head.length = memory.len;
    return memory.ptr + head_bytes;
}

export fn free(old: ?*anyopaque) void {
    const given: [*]u8 = @ptrCast(old orelse return);
    const start: [*]align(16) u8 = @alignCast(given - head_bytes);
    const head: *Head = @ptrCast(start);
    pgraft.memory.free(start[0..head.length]);
}

export fn realloc(old: ?*anyopaque, size: usize) ?*anyopaque {
    const new = malloc(size) orelse return null;
    if (old) |given| {
        const from: [*]u8 = @ptrCast(given);
        const head: *const Head = @ptrCast(@alignCast(from - head_bytes));
        const to: [*]u8 = @ptrCast(new);
        const length = @min(size, head.length - head_bytes);
        @memcpy(to[0..length], from[0..length]);
        free(old);
    }
    return new;
}

export fn strlen(text: [*:0]const u8) usize {
    return std.mem.len(text);
}

export fn abort() noreturn {
    @trap();
}
