// Package watcher knows folders: which files are there, whether one has
// stopped changing, and how to open, move and remove it when every name in
// the folder may be hostile.
//
// It promises:
//   - a full scan finds every file whatever happened to the events; events
//     only shorten the time until a file is looked at;
//   - no file is called complete on one look, by its age, or by one event;
//   - no access leaves the watched directory: no symbolic link is followed,
//     no mount point crossed, no FIFO or device opened;
//   - memory grows with the number of directories, never with that of files;
//   - a root that was deleted, replaced or unmounted is reported and taken up
//     again by itself. It is never reported as an empty directory.
//
// It never reports that a file is gone (absence proves nothing), never parses
// a file, never stores anything, and never writes a path into the log.
package watcher
