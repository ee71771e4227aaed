//! SQL text as UTF-8, whatever the encoding of the database.
//!
//! Keys and values travel between databases, so they are UTF-8 everywhere but at the border with
//! SQL. pgrx's own `&str` fails on a database that is not UTF-8.

use std::ffi::{c_char, c_int};

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;

/// A `text` argument or result.
pub(crate) struct Text(pub(crate) String);

const UTF8: c_int = pg_sys::pg_enc::PG_UTF8 as c_int;

impl Text {
    /// # Errors
    /// Raises an error of PostgreSQL when a character does not exist in UTF-8.
    pub(crate) fn from_server(bytes: &[u8]) -> Text {
        let length = c_int::try_from(bytes.len()).expect("a datum is below 1 GiB");
        // SAFETY: pointer and length are those of a slice. The result is the same pointer, when
        // there was nothing to convert, or a new string that ends in a zero byte.
        let utf8 = unsafe {
            let converted = pg_sys::pg_server_to_any(bytes.as_ptr().cast::<c_char>(), length, UTF8);
            if std::ptr::eq(converted.cast::<u8>(), bytes.as_ptr()) {
                bytes
            } else {
                std::ffi::CStr::from_ptr(converted).to_bytes()
            }
        };
        // SQL_ASCII promises nothing about its bytes.
        match std::str::from_utf8(utf8) {
            Ok(text) => Text(text.to_owned()),
            Err(_) => crate::report::Report::not_utf8().raise(),
        }
    }

    fn into_server(self) -> Option<pg_sys::Datum> {
        let length = c_int::try_from(self.0.len()).expect("answers are below 1 GiB");
        // SAFETY: as above; the source outlives the copy that `into_datum` makes.
        unsafe {
            let source = self.0.as_ptr().cast::<c_char>();
            let converted = pg_sys::pg_any_to_server(source, length, UTF8);
            if std::ptr::eq(converted.cast_const(), source) {
                self.0.as_bytes().into_datum()
            } else {
                std::ffi::CStr::from_ptr(converted).to_bytes().into_datum()
            }
        }
    }
}

impl IntoDatum for Text {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        self.into_server()
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTOID
    }
}

// SAFETY: `text` and `bytea` have the same layout, and the SQL below says `text`.
unsafe impl<'fcx> ArgAbi<'fcx> for Text {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the argument is a varlena, see above.
        let bytes: Option<&[u8]> = unsafe { arg.unbox_arg_using_from_datum() };
        Text::from_server(bytes.expect("PostgreSQL calls with NULL only where Option stands"))
    }
}

// SAFETY: as above.
unsafe impl BoxRet for Text {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.into_server() {
            // SAFETY: a varlena in the current memory context.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}

// SAFETY: maps to a type of PostgreSQL that has this layout.
unsafe impl SqlTranslatable for Text {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Text);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("TEXT"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("TEXT")));
}
