//! SQL's `jsonb` as JSON text in UTF-8, whatever the encoding of the database.
//!
//! Machines are given the text as PostgreSQL prints it, and numbers keep every digit: nothing here
//! parses them. pgrx's own type goes through floats.

use std::ffi::CString;

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::fcinfo::direct_function_call_as_datum;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;

use crate::text::Text;

/// A `jsonb` argument or result.
pub(crate) struct Json(pub(crate) String);

impl Json {
    /// What any program that writes JSON made.
    pub(crate) fn of(value: &serde_json::Value) -> Json {
        Json(value.to_string())
    }
}

impl FromDatum for Json {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _type: pg_sys::Oid,
    ) -> Option<Json> {
        if is_null {
            return None;
        }
        // SAFETY: the datum is a jsonb, perhaps toasted: jsonb_out takes care of that. It returns a
        // string that ends in a zero byte, copied before anything else happens.
        unsafe {
            let text = direct_function_call_as_datum(pg_sys::jsonb_out, &[Some(datum)])?;
            let text = std::ffi::CStr::from_ptr(text.cast_mut_ptr());
            Some(Json(Text::from_server(text.to_bytes()).0))
        }
    }
}

impl IntoDatum for Json {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        let text = CString::new(self.0).expect("JSON text has no zero byte");
        // SAFETY: both take a string that ends in a zero byte, and copy what they keep of it.
        unsafe {
            let length = i32::try_from(text.count_bytes()).expect("answers are below 1 GiB");
            let utf8 = pg_sys::pg_enc::PG_UTF8 as i32;
            let text = pg_sys::pg_any_to_server(text.as_ptr(), length, utf8);
            let text = pg_sys::Datum::from(text.cast_const());
            direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(text)])
        }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}

// SAFETY: the SQL below says `jsonb`.
unsafe impl<'fcx> ArgAbi<'fcx> for Json {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the argument is a jsonb, see above.
        let json: Option<Json> = unsafe { arg.unbox_arg_using_from_datum() };
        json.expect("PostgreSQL calls with NULL only where Option stands")
    }
}

// SAFETY: as above.
unsafe impl BoxRet for Json {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.into_datum() {
            // SAFETY: a jsonb in the current memory context.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}

// SAFETY: maps to the type of PostgreSQL that the functions above read and make.
unsafe impl SqlTranslatable for Json {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Json);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("JSONB"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("JSONB")));
}
