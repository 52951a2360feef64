package media

import "strings"

// Archives of chats, which some destinations take beside audio.
const (
	zip = "zip"
	tar = "tar"
)

// IsArchive reports whether a container is one of those archives.
func IsArchive(container string) bool { return container == zip || container == tar }

// archive says which archive a refused file is, for a destination that takes
// it as it is. An archive without its end is cut off or still being written,
// and stays nameless.
func (s *source) archive(bad *Error) (Info, *Error) {
	if bad.Code != Archive {
		return Info{}, bad
	}
	var whole bool
	var kind string
	switch head := s.at(0, 512); {
	case text(head, 0, 4) == "PK\x03\x04":
		kind = zip
		// The record that ends a zip has 22 bytes and a comment of up to 64 KiB;
		// comments are rare and short.
		n := min(s.size, nextFill)
		whole = strings.Contains(string(s.at(s.size-n, int(n))), "PK\x05\x06")
	case text(head, 257, 5) == "ustar":
		kind = tar
		whole = s.size%512 == 0 && s.size > 1024 && strings.Trim(string(s.at(s.size-1024, 1024)), "\x00") == ""
	default:
		return Info{}, bad
	}
	if !whole {
		return Info{}, refuse(Archive, "the content is the beginning of a %s archive without its end: it is cut off or still being written; fetch it again", kind)
	}
	return Info{Container: kind, Ext: kind}, bad
}
