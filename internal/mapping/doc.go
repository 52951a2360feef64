// Package mapping turns documents into call records and call records into
// vendor fields. It is the only room that knows the expression language.
//
// It promises that every expression is compiled and type-checked once, with
// the config field and the column of each mistake; that a value which is not
// there stays absent instead of becoming "" or "null"; that a time is either
// one instant or an error, never a guess (no letter zones, no repeated or
// skipped local hours, no invented "now"); and that whatever an expression
// does to a document, the answer is a value or a [*FieldError].
//
// It never reads a file, never logs, and never puts a person's name or number
// into an error text: a text that could be one is shown as its shape, with
// every digit as 9 and every letter as a.
package mapping
