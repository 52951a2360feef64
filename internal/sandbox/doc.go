// Package sandbox holds faithful fake vendors: HTTP servers that behave as the
// vendors' guides say, with faults that can be switched on while they run and
// a view of what really arrived.
//
// A fake is strict where the guide is strict, and where the guide is silent
// it has a switch (see [Unknowns]). It tells apart what the wire cannot: a
// recording that was stored although its answer was lost, and one that was
// lost with its answer. Tests, `ingestd demo` and `ingestd sandbox` stand on
// it.
//
// It promises that a contact exists only for a body that arrived whole, that
// bodies are streamed and never held in memory, and that the view under
// /_sandbox/ shows every contact, session and (the most recent) requests.
//
// It never imports another room: a fake that shares code with a sender cannot
// catch the sender's mistakes. It never plays audio, never contacts a vendor,
// and is no server for production: contacts, sessions and issued ids stay in
// memory until it ends, and the view and the fault switches ask for no
// credentials.
package sandbox
