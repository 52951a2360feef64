package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"ingestd/internal/config"
)

// foreignOwner names the user to whom a directory belongs, if root is about to
// write into it: what root leaves there that user cannot open.
func foreignOwner(euid int, dir string) (name string, foreign bool) {
	var st unix.Stat_t
	if euid != 0 || unix.Stat(dir, &st) != nil || st.Uid == 0 {
		return "", false
	}
	id := strconv.FormatUint(uint64(st.Uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username, true
	}
	return "'#" + id + "'", true // as sudo takes a number
}

// asOwner refuses a command by root that would write files into a state
// directory that is the service user's.
func asOwner(cfg *config.Config, verb string) error {
	dir := filepath.Dir(cfg.Ledger.Path)
	owner, foreign := foreignOwner(os.Geteuid(), dir)
	if !foreign {
		return nil
	}
	return &problem{code: exitConfig, what: fmt.Sprintf("%s belongs to %s, who could not open the files that root would leave there", dir, owner),
		hint: fmt.Sprintf("run it as that user: sudo -u %[1]s ingestd %[2]s, or runuser -u %[1]s -- ingestd %[2]s", owner, verb)}
}
