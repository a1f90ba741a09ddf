// Package git keeps bare repositories and speaks the server's side of git's
// smart HTTP protocol, without HTTP: bodies come and go as streams.
//
// The work is done by the system's git, version 2.39 or newer, in child
// processes that see no configuration but ours, run no hooks, and end when
// whoever asked for them does. Reads go through a pool of long-lived
// "git cat-file" processes. A push is read by us before git sees it, so that
// each ref update can be refused by name.
//
// What a push or a commit has changed is on disk, synced, when the function
// that did it returns.
package git
