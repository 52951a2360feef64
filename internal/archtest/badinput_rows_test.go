package archtest

// badRow is one line of the bad-input list: what comes in, which tests execute
// it, and a note where our answer differs or something is open.
type badRow struct {
	n     int
	what  string
	tests []string // package directory, test, and perhaps a text of its table
	note  string
}

const (
	wPipe  = "internal/pipeline "
	wWatch = "internal/watcher "
	wMedia = "internal/media "
	wSide  = "internal/sidecar "
	wMap   = "internal/mapping "
	wSend  = "internal/senders "
	wConf  = "internal/config TestBad"
	wLedg  = "internal/ledger "
	wSuite = "internal/senders/voyc TestConformance"
	inCSV  = wSide + "TestBadCSV/"
	inJSON = wSide + "TestBadJSON/"
	names  = wPipe + "TestBadNames/"
	things = wPipe + "TestBadObjects/"
)

// What is quarantined stays where it lies, and its reason stands in the ledger:
// no reason files are written. Said here once, not in every row.
func badRows() []badRow {
	return []badRow{
		{1, "unfinished and hidden names", []string{wWatch + "TestIgnored", names + "1 unfinished"}, ""},
		{2, "control characters in a name", []string{names + "2 control characters", "internal/status TestInvisibleCharactersAreEscaped"}, ""},
		{3, "a name that is no UTF-8", []string{names + "3 no UTF-8", wWatch + "TestOpenReads"}, ""},
		{4, "invisible and look-alike characters", []string{names + "4 invisible and look-alike", "internal/status TestInvisibleCharactersAreEscaped"}, ""},
		{5, "composed and decomposed names", []string{names + "5 composed and decomposed"}, "there is no option to normalise"},
		{6, "names that differ in case", []string{names + "6 case of the stem", wSide + "TestPairs"}, "a stem in other case does not pair: it waits for its sidecar instead of being ambiguous"},
		{7, "long name, long path", []string{names + "7 long name", names + "7 long path", wWatch + "TestWalkUnreadable"}, ""},
		{8, "shell and format characters", []string{names + "8 shell and format"}, ""},
		{9, "header characters in a multipart name", []string{"internal/senders/voyc TestFormKeepsItsOrder", "internal/senders/authenticx TestPlanIsTheExactRequest"}, "no original name reaches a header: the sent name is derived from the delivery"},
		{10, "no or several extensions", []string{names + "10 extensions", wSide + "TestPairs"}, ""},
		{11, "device names of Windows", []string{names + "11 device names"}, ""},
		{12, "one base name in many directories", []string{names + "12 one base name in many directories"}, ""},
		{13, "symbolic link inside the root", []string{wWatch + "TestRefused", wPipe + "TestNotRegular"}, ""},
		{14, "symbolic link to a secret", []string{wWatch + "TestRefused/absolute.wav", wPipe + "TestNotRegular"}, "told as quarantined, without an alert of its own"},
		{15, "linked directory, loop of links", []string{wWatch + "TestWalk", wWatch + "TestRefused/loop"}, ""},
		{16, "hard link", []string{wWatch + "TestRefused/hard.wav", wPipe + "TestNotRegular"}, "the kernel's protected_hardlinks is not asked for: links are refused by their count"},
		{17, "FIFO", []string{wWatch + "TestRefusedIsNotEvenOpened", wPipe + "TestNotRegular"}, ""},
		{18, "socket, device", []string{wWatch + "TestRefused/sock.wav", wWatch + "TestRefusesDevices"}, ""},
		{19, "directory named like media", []string{things + "19 directory named like media", wWatch + "TestRefused/dir.wav"}, ""},
		{20, "mount inside the root", []string{wWatch + "TestRefusesOtherMounts", wWatch + "TestMountInside"}, ""},
		{21, "magic link", []string{wWatch + "TestRefused/magic.wav"}, ""},
		{22, "empty file", []string{things + "22 empty", wWatch + "TestJudge/empty: one minute at least"}, ""},
		{23, "sparse file of a terabyte", []string{wPipe + "TestSparseTerabyte", wPipe + "TestSizeLimits"}, "where a destination of the source names no limit (ElevateAI, Behavioral Signals) it is read whole: no other limit is set"},
		{24, "above the vendor's limit", []string{wSuite, "internal/senders/callminer TestRefusals/1 GiB and 1", "internal/senders/authenticx TestFormats/too_large", "internal/senders/voyc TestRequest/too large"}, "before any byte is sent: rejected(too_large) of the delivery while another destination takes it, else of the recording as in row 23"},
		{25, "file that cannot be read", []string{wPipe + "TestOneUnreadableFileHoldsUpNobody"}, "permission denied is quarantined at once; a retry takes it up"},
		{26, "modes and attributes", []string{things + "26 modes and attributes"}, ""},
		{27, "file system read-only or full after sending", []string{"internal/torture TestCells", wPipe + "TestFailedMoveLogsNoName"}, ""},
		{28, "depth and very many entries", []string{wWatch + "TestWalkDepth200", wWatch + "TestWalkHundredThousand", "cmd/ingestd TestMillionFiles"}, ""},
		{29, "directory made and gone at once", []string{wWatch + "TestDirectoriesMadeAndGone", wWatch + "TestWalkChangesMeanwhile"}, ""},
		{30, "file that grows for hours", []string{wPipe + "TestGrowingAndRewritten"}, ""},
		{31, "writer that pauses too long", []string{wWatch + "TestJudge/a pause longer than the quiet time, seen only by the next look", "internal/torture TestCells"}, ""},
		{32, "rewritten after upload", []string{wPipe + "TestConflictWithAcceptedElsewhere", wLedg + "TestDuplicateAndConflict"}, ""},
		{33, "same file twice", []string{wPipe + "TestDisposal", things + "33 one call under two names"}, ""},
		{34, "same name, other content", []string{wPipe + "TestNewFileUnderNameOfRefused", wPipe + "TestNameUsedAgainWaitsForItsOwnSidecar"}, ""},
		{35, "one content under two keys", []string{things + "35 one content under two keys"}, ""},
		{36, "moved out, in, between sources", []string{wPipe + "TestMovedBetweenSources", wLedg + "TestVanishedFileComesAgain"}, "always a duplicate; there is no option for a new scope"},
		{37, "modification time far off", []string{wWatch + "TestJudge/a negative modification time", wWatch + "TestJudge/a modification time in another century delays five minutes"}, ""},
		{38, "writer through a mapping", []string{wPipe + "TestMappedWriter"}, ""},
		{39, "deleted before upload", []string{wPipe + "TestDeletedBeforeSending"}, "vanished in the ledger and in status, without an alert of its own"},
		{40, "sidecar changed after pairing", []string{wPipe + "TestCorrectionsBeforeSending", wPipe + "TestMetadataChangesAfterSending"}, "after sending on_late_change decides"},
		{41, "marker before the data", []string{wWatch + "TestJudge/the marker before the data", things + "41 marker that never comes"}, ""},
		{42, "temporary name and rename", []string{wWatch + "TestRsync", wWatch + "TestArrivals"}, ""},
		{43, "byte order mark", []string{inCSV + "43 mark"}, ""},
		{44, "other encodings", []string{inCSV + "44 latin-1"}, "UTF-16 with its mark is read: the mark is no guess"},
		{45, "another delimiter", []string{inCSV + "45 semicolon"}, ""},
		{46, "bare carriage returns", []string{inCSV + "46 carriage returns"}, ""},
		{47, "NUL bytes", []string{inCSV + "47 NUL"}, ""},
		{48, "duplicate header", []string{inCSV + "48 duplicate"}, ""},
		{49, "short and long rows", []string{inCSV + "49 short", wSide + "TestErrorsNameLines"}, ""},
		{50, "quote that is never closed", []string{inCSV + "50 swallows the file", wSide + "TestCaps"}, ""},
		{51, "too many rows and columns", []string{inCSV + "51 columns", wSide + "TestTenMillionRows", wSide + "TestHostileMemory"}, ""},
		{52, "no record", []string{inCSV + "52 empty"}, ""},
		{53, "several rows, one bad", []string{inCSV + "53 a bad row among good ones"}, ""},
		{54, "path in a file-name column", []string{inCSV + "54 path", wMap + "TestParts"}, "columns are compared as text and never opened; what pairs with nothing waits instead of being refused"},
		{55, "another customer's file in a column", []string{inCSV + "55 other file"}, "a source has one key space: a row pairs within its source only"},
		{56, "formulas", []string{inCSV + "56 formula"}, "verbatim; ingestd writes no CSV"},
		{57, "control characters in values", []string{inCSV + "57 escape", wMap + "TestBadValues"}, ""},
		{58, "impossible dates, gaps, no zone", []string{wMap + "TestTimeRefused", wMap + "TestDaylightSaving", wMap + "TestTimeNeedsAZone"}, ""},
		{59, "numbers that are none, long ids", []string{inCSV + "59 numbers", wMap + "TestBadValues"}, ""},
		{60, "empty or meaningless key", []string{inCSV + "60 keys", wMap + "TestBadValues"}, ""},
		{61, "duplicate keys", []string{inJSON + "61 same key"}, ""},
		{62, "trailing data", []string{inJSON + "62 two documents"}, ""},
		{63, "depth", []string{inJSON + "63 objects"}, ""},
		{64, "huge text, many keys", []string{inJSON + "64 text"}, ""},
		{65, "numbers beyond a float", []string{inJSON + "65 numbers"}, ""},
		{66, "lone surrogates, invalid UTF-8", []string{inJSON + "66 lone surrogate"}, ""},
		{67, "byte order mark", []string{inJSON + "67 mark"}, ""},
		{68, "no object at the top", []string{inJSON + "68 null"}, ""},
		{69, "unknown fields", []string{inJSON + "69 unknown fields"}, "kept for expressions; only what is mapped is sent"},
		{70, "wrong types", []string{inJSON + "70 types", wMap + "TestBadValues"}, ""},
		{71, "text that is code elsewhere", []string{inJSON + "71 hostile text", wMap + "TestHostile"}, ""},
		{72, "no media under a media name", []string{wMedia + "TestRefused"}, ""},
		{73, "lengths in the header that are wrong", []string{wMedia + "TestWavByHeader", wMedia + "TestMissing"}, "a file that lacks bytes settles, and is quarantined when none come"},
		{74, "archive bombs", []string{wMedia + "TestArchives", wPipe + "TestArchives"}, ""},
		{75, "more than 4 GB", []string{wMedia + "TestBigFiles"}, ""},
		{76, "media identical to its sidecar", []string{things + "76 sidecar that is the media", things + "76 media that is the sidecar"}, "refused by what it is (encoding, not_audio), not as ambiguous"},
		{77, "endless and creeping answers", []string{wSend + "TestClientBoundsTheBody", wSuite}, ""},
		{78, "huge heads", []string{wSend + "TestClientBoundsTheHead", wSuite}, ""},
		{79, "compressed bomb", []string{wSuite}, "compression is neither asked for nor undone"},
		{80, "redirects", []string{wSuite}, ""},
		{81, "upload URL that leads inside", []string{"internal/senders/voyc TestAddresses", "internal/senders/voyc TestHostNotListed", "internal/senders/voyc TestKeptTargetNotListed", "internal/senders/voyc TestUploadHosts", "internal/senders/voyc TestNameLeadsHome", wSend + "TestPublicOnly"}, "in a rehearsal (base_url on loopback, allow_http) it may lead anywhere"},
		{82, "cookies, credentials elsewhere", []string{wSuite, "internal/senders/voyc TestFormKeepsItsOrder"}, ""},
		{83, "remote ids that are no ids", []string{"internal/senders/callminer TestConformance", "internal/senders/callminer TestIDsGivenOutTwiceAreHeld"}, ""},
		{84, "success without its evidence", []string{wSuite, "internal/senders/elevateai TestConformance"}, ""},
		{85, "status word never seen", []string{"internal/senders/elevateai TestConformance", "internal/senders/behavioralsignals TestConformanceV5"}, ""},
		{86, "Retry-After that is nonsense", []string{wSend + "TestParseRetryAfter", wSuite}, ""},
		{87, "answers that repeat secrets", []string{wSend + "TestRedactKeepsOnlyOwnWords", wSuite}, ""},
		{88, "vendor's clock a day off", []string{"internal/senders/behavioralsignals TestListWindow"}, ""},
		{89, "interim answers, broken HTTP", []string{wSend + "TestClientFloodOfInterimAnswers", wSuite}, ""},
		{90, "duplicate in other words", []string{"internal/senders/authenticx TestRefusalTexts"}, ""},
		{91, "unknown and duplicate keys, depth, size", []string{wConf, "internal/config TestDeepNesting", "internal/config TestHugeFileIsNotParsed"}, ""},
		{92, "sources that overlap", []string{wConf}, ""},
		{93, "unsafe places", []string{wWatch + "TestFSKind", wLedg + "TestUnusableDirectories", wSend + "TestSecretWarning", "cmd/ingestd TestScripts"}, "a network file system is refused; the rest is warned of by check and once by the daemon (the script exposed)"},
		{94, "empty secrets and line ends", []string{wSend + "TestSecretResolve"}, ""},
		{95, "open HTTP, weak TLS", []string{wSend + "TestCheckURL", wSend + "TestClientTLS", wSend + "TestClientRefusesOpenHTTP"}, "allow_http takes plain http to any host"},
		{96, "durations and sizes out of range", []string{wConf, wSend + "TestDuration"}, ""},
		{97, "places that cannot be written, no inotify", []string{wLedg + "TestUnusableDirectories", wWatch + "TestWatchLimit"}, "check tells an archive that cannot be written; run does not refuse to start. Without inotify it scans"},
		{98, "destination renamed", []string{wPipe + "TestDestinationRenamed"}, "there is no reload, and a rename is not refused: what was accepted is not sent again"},
		{99, "ledger missing or foreign, second instance", []string{wLedg + "TestOpenFinds", wLedg + "TestSecondOpenIsLockedOut", "internal/torture TestSecondInstance"}, ""},
	}
}
