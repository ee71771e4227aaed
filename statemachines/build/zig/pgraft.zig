//! What a machine in Zig is written with: the host's functions, and the types of yours.
//!
//! A machine is the file machine.zig. It has `name`, `version`, `apply(Context, Caller, payload)
//! Outcome` and `query(Context, request) Outcome`, and may have `schema`, `migrates_from`, `api`,
//! `keyed`, `init`, `check`, `react` (each returns null or a rejection), `migrate`, `commandKey`,
//! `queryKey` and `invariant` (null or what is wrong).
//!
//! The layouts are those of the generated glue that is linked with it. Not here: the C library; a
//! machine has Zig's own, without files, clocks and chance.

const std = @import("std");

/// Memory for the call; all of it is forgotten after the log entry.
pub const memory = std.heap.wasm_allocator;

extern fn malloc(size: usize) ?[*]u8;

/// Code of the rejection of a payload that is not a command or query.
pub const malformed = 100;

/// What the log fixes about the entry being applied.
pub const Context = extern struct { index: u64, term: u64, time_ms: u64, seed: u64 };

/// Who sent a command.
pub const Caller = struct { principal: []const u8, session: u64, seq: u64 };

/// What a command or query comes to. A rejection's code is 100 or above.
pub const Outcome = union(enum) {
    ok: []const u8,
    rejected: struct { code: u32, message: []const u8 },

    pub fn reject(code: u32, message: []const u8) Outcome {
        return .{ .rejected = .{ .code = code, .message = message } };
    }
};

/// Why `react` is called.
pub const Trigger = union(enum) { wake, effect_done: struct { id: u64, outcome: Outcome } };

pub const Progress = enum(u8) { done = 0, more = 1 };

const Raw = extern struct {
    ptr: [*c]u8 = null,
    len: usize = 0,

    fn of(bytes: []const u8) Raw {
        return .{ .ptr = @constCast(bytes.ptr), .len = bytes.len };
    }

    fn copy(bytes: []const u8) Raw {
        if (bytes.len == 0) return .{};
        const to = malloc(bytes.len) orelse @panic("out of memory");
        @memcpy(to, bytes);
        return .{ .ptr = to, .len = bytes.len };
    }

    fn slice(raw: Raw) []u8 {
        return if (raw.len == 0) &.{} else raw.ptr[0..raw.len];
    }
};

const RawError = extern struct { code: u32 = 0, message: Raw = .{} };
const RawOutcome = extern struct { is_err: bool, val: extern union { ok: Raw, err: RawError } };
const RawCaller = extern struct { principal: Raw, session: u64, seq: u64 };
const RawCommand = extern struct { caller: RawCaller, payload: Raw };
const RawCommands = extern struct { ptr: [*]RawCommand, len: usize };
const RawOutcomes = extern struct { ptr: [*]RawOutcome, len: usize };
const RawDone = extern struct { id: u64, outcome: RawOutcome };
const RawTrigger = extern struct { tag: u8, val: extern union { effect_done: RawDone } };
const RawPage = extern struct { rows: Raw = .{}, count: u32 = 0, more: bool = false };
const RawManifest = extern struct {
    name: Raw,
    version: Raw,
    schema: u32,
    migrates_from: u32,
    api: Raw,
    keyed: bool,
};

/// The machine's ordered keyspace.
pub const storage = struct {
    extern fn storage_get(key: *const Raw, value: *Raw) bool;
    extern fn storage_put(key: *const Raw, value: *const Raw) void;
    extern fn storage_delete(key: *const Raw) bool;
    extern fn storage_scan(*const Raw, *const Raw, u32, u32, bool, bool, page: *RawPage) void;
    extern fn storage_mark() u32;
    extern fn storage_release(mark: u32) void;
    extern fn storage_rollback_to(mark: u32) void;
    extern fn storage_wake_at(time_ms: u64) void;

    pub fn get(key: []const u8) ?[]u8 {
        var value: Raw = .{};
        return if (storage_get(&.of(key), &value)) value.slice() else null;
    }

    pub fn put(key: []const u8, value: []const u8) void {
        storage_put(&.of(key), &.of(value));
    }

    /// True when the key existed.
    pub fn delete(key: []const u8) bool {
        return storage_delete(&.of(key));
    }

    /// A page of the rows of [start, end), of at most `limit` rows and 64 KiB, end "" = no bound.
    pub fn scan(start: []const u8, end: []const u8, limit: u32, reverse: bool) Page {
        var page: RawPage = .{};
        storage_scan(&.of(start), &.of(end), limit, 64 << 10, reverse, false, &page);
        return .{ .rest = page.rows.slice(), .more = page.more };
    }

    /// Asks for a `Trigger.wake` at or after this unix ms; 0 = not at all.
    pub const wakeAt = storage_wake_at;
};

/// Rows of a scan. `more` = the range goes on after the last one.
pub const Page = struct {
    rest: []const u8,
    more: bool,

    pub const Row = struct { key: []const u8, value: []const u8 };

    pub fn next(page: *Page) ?Row {
        if (page.rest.len == 0) return null;
        const key_length = std.mem.readInt(u32, page.rest[0..4], .little);
        const value_length = std.mem.readInt(u32, page.rest[4..8], .little);
        const key = page.rest[8..][0..key_length];
        const value = page.rest[8 + key_length ..][0..value_length];
        page.rest = page.rest[8 + key_length + value_length ..];
        return .{ .key = key, .value = value };
    }
};

pub const events = struct {
    extern fn events_emit(topic: *const Raw, payload: *const Raw) void;

    pub fn emit(topic: []const u8, payload: []const u8) void {
        events_emit(&.of(topic), &.of(payload));
    }
};

/// The node's log; never affects the state.
pub const log = struct {
    pub const Level = enum(u8) { @"error" = 0, warn = 1, info = 2, debug = 3 };

    extern fn log_write(level: u8, message: *const Raw) void;

    pub fn write(level: Level, message: []const u8) void {
        log_write(@intFromEnum(level), &.of(message));
    }
};

pub const effects = struct {
    extern fn effects_request(kind: *const Raw, payload: *const Raw) u64;

    /// The id under which the outcome comes back.
    pub fn request(kind: []const u8, payload: []const u8) u64 {
        return effects_request(&.of(kind), &.of(payload));
    }
};

/// Exports the functions of `M`; root.zig does that.
pub fn machine(comptime M: type) void {
    const Exports = struct {
        fn describe(manifest: *RawManifest) callconv(.c) void {
            const schema = if (@hasDecl(M, "schema")) M.schema else 1;
            manifest.* = .{
                .name = .copy(M.name),
                .version = .copy(M.version),
                .schema = schema,
                .migrates_from = if (@hasDecl(M, "migrates_from")) M.migrates_from else schema,
                .api = .copy(if (@hasDecl(M, "api")) M.api else ""),
                .keyed = @hasDecl(M, "keyed") and M.keyed,
            };
        }

        fn init(ctx: *const Context, config: *const Raw, err: *RawError) callconv(.c) bool {
            if (!@hasDecl(M, "init")) return true;
            return accepted(M.init(ctx.*, config.slice()), err);
        }

        fn check(ctx: *const Context, command: *const RawCommand, err: *RawError) callconv(.c) bool {
            if (!@hasDecl(M, "check")) return true;
            return accepted(M.check(ctx.*, caller(command), command.payload.slice()), err);
        }

        fn apply(ctx: *const Context, commands: *RawCommands, ret: *RawOutcomes) callconv(.c) void {
            const bytes = malloc(commands.len * @sizeOf(RawOutcome)) orelse @panic("out of memory");
            const outcomes = @as([*]RawOutcome, @ptrCast(@alignCast(bytes)))[0..commands.len];
            for (commands.ptr[0..commands.len], outcomes) |*command, *outcome| {
                const mark = storage.storage_mark();
                switch (M.apply(ctx.*, caller(command), command.payload.slice())) {
                    .ok => |reply| {
                        storage.storage_release(mark);
                        outcome.* = .{ .is_err = false, .val = .{ .ok = .copy(reply) } };
                    },
                    .rejected => |why| {
                        storage.storage_rollback_to(mark);
                        const err: RawError = .{ .code = why.code, .message = .copy(why.message) };
                        outcome.* = .{ .is_err = true, .val = .{ .err = err } };
                    },
                }
            }
            ret.* = .{ .ptr = outcomes.ptr, .len = outcomes.len };
        }

        fn react(ctx: *const Context, what: *const RawTrigger, err: *RawError) callconv(.c) bool {
            if (!@hasDecl(M, "react")) return true;
            const done = &what.val.effect_done;
            const trigger: Trigger = if (what.tag == 0) .wake else .{ .effect_done = .{
                .id = done.id,
                .outcome = if (done.outcome.is_err) .{ .rejected = .{
                    .code = done.outcome.val.err.code,
                    .message = done.outcome.val.err.message.slice(),
                } } else .{ .ok = done.outcome.val.ok.slice() },
            } };
            return accepted(M.react(ctx.*, trigger), err);
        }

        fn query(
            ctx: *const Context,
            request: *const Raw,
            answer: *Raw,
            err: *RawError,
        ) callconv(.c) bool {
            switch (M.query(ctx.*, request.slice())) {
                .ok => |bytes| answer.* = .copy(bytes),
                .rejected => |why| {
                    err.* = .{ .code = why.code, .message = .copy(why.message) };
                    return false;
                },
            }
            return true;
        }

        fn migrate(
            ctx: *const Context,
            from_schema: u32,
            step: u32,
            progress: *u8,
            err: *RawError,
        ) callconv(.c) bool {
            _ = err;
            const made: Progress =
                if (@hasDecl(M, "migrate")) M.migrate(ctx.*, from_schema, step) else .done;
            progress.* = @intFromEnum(made);
            return true;
        }

        fn commandKey(payload: *const Raw, key: *Raw) callconv(.c) bool {
            if (!@hasDecl(M, "commandKey")) return false;
            const found: ?[]const u8 = M.commandKey(payload.slice());
            key.* = .copy(found orelse return false);
            return true;
        }

        fn queryKey(request: *const Raw, key: *Raw) callconv(.c) bool {
            if (!@hasDecl(M, "queryKey")) return false;
            const found: ?[]const u8 = M.queryKey(request.slice());
            key.* = .copy(found orelse return false);
            return true;
        }

        fn invariant(ctx: *const Context, wrong: *Raw) callconv(.c) bool {
            if (!@hasDecl(M, "invariant")) return true;
            const found: ?[]const u8 = M.invariant(ctx.*);
            wrong.* = .copy(found orelse return true);
            return false;
        }
    };
    @export(&Exports.describe, .{ .name = "exports_guest_describe" });
    @export(&Exports.init, .{ .name = "exports_guest_init" });
    @export(&Exports.check, .{ .name = "exports_guest_check" });
    @export(&Exports.apply, .{ .name = "exports_guest_apply" });
    @export(&Exports.react, .{ .name = "exports_guest_react" });
    @export(&Exports.query, .{ .name = "exports_guest_query" });
    @export(&Exports.migrate, .{ .name = "exports_guest_migrate" });
    @export(&Exports.commandKey, .{ .name = "exports_verification_command_key" });
    @export(&Exports.queryKey, .{ .name = "exports_verification_query_key" });
    @export(&Exports.invariant, .{ .name = "exports_verification_invariant" });
}

fn caller(command: *const RawCommand) Caller {
    const from = &command.caller;
    return .{ .principal = from.principal.slice(), .session = from.session, .seq = from.seq };
}

/// An `init`, `check` or `react` returns null, or a rejection.
fn accepted(rejection: ?Outcome, err: *RawError) bool {
    const why = (rejection orelse return true).rejected;
    err.* = .{ .code = why.code, .message = .copy(why.message) };
    return false;
}
