package watcher

import "strings"

// Ignored says whether a name marks a file or directory as temporary or as
// furniture of a file manager: it is not looked at until it is renamed.
// The suffixes and prefixes are those of rsync, SFTP clients, browsers,
// editors, sync clients, Mirth's file writer, Windows and NAS systems.
func Ignored(name string) bool {
	switch {
	case name == "":
		return true
	case name[0] == '.', name[len(name)-1] == '~', strings.HasPrefix(name, "~$"):
		return true
	}
	switch name[0] {
	case '@', '#', '$', 'T', 't', 'D', 'd', 'S', 's', 'l', 'L':
		switch strings.ToLower(name) {
		case "@eadir", "#recycle", "#snapshot", "$recycle.bin", "thumbs.db", "desktop.ini",
			"system volume information", "lost+found":
			return true
		}
	}
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return false
	}
	ext := name[dot+1:]
	for _, temporary := range [...]string{
		"tmp", "temp", "part", "partial", "filepart", "crdownload", "opdownload", "download", "swp", "swx", "mcf",
	} {
		if strings.EqualFold(ext, temporary) {
			return true
		}
	}
	return strings.HasPrefix(strings.ToLower(ext), "octransferid")
}
