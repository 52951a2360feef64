package sidecar

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fixture(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Files as recorders drop them: how many rows come, and one that shows what
// is easily lost.
func TestFixtures(t *testing.T) {
	windows := with(oneCSV, encoded("windows-1252"))
	nice := with(listCSV, func(c *Config) { c.Delimiter = ";" })
	asterisk := with(listCSV, noHeader("accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata",
		"start", "answer", "end", "duration", "billsec", "disposition", "amaflags", "uniqueid", "userfield"))
	for _, test := range []struct {
		file   string
		config Config
		want   string
		row    int
		value  map[string]any // those keys of that row; nil: the key is absent
	}{
		{"percall_latin.csv", windows, "ok", 1, map[string]any{"agent": "José Núñez", "call_time": "08-05-06", "duration": "2.5"}},
		{"percall_latin.csv", oneCSV, "!encoding", 0, nil},
		{"percall_curly.csv", windows, "ok", 1, map[string]any{"agent": "Erin “Bee” O’Dell"}},
		{"percall_curly.csv", with(oneCSV, encoded("iso-8859-1")), "!control_char", 0, nil},
		{"percall_short.csv", windows, "ok", 1, map[string]any{"call_date": "02/11/2026", "phone": nil}},
		{"nice_utf16.csv", nice, "ok ok ok ok ok", 3, map[string]any{"CVSKEY": "111", "CVSDUR": "2,2", "CVSAGN": "Zoé Lefèvre",
			"CVSLCT": `2026-11-02\2\CH2_00000110_85.wav`, "CVSNOTE": "ligne 1\nligne 2"}},
		{"nice_utf16.csv", nice, "ok ok ok ok ok", 2, map[string]any{"CVSNOTE": `dit: "urgent"; rappeler`}},
		{"nice_utf16.csv", listCSV, "!header", 0, nil},
		{"five9_report.csv", with(listCSV, func(c *Config) { c.Null = []string{"[None]"} }), "ok ok ok ok ok ok ok", 2,
			map[string]any{"CALL ID": "300000010270102", "AGENT": nil, "AGENT NAME": "", "TIMESTAMP": "Fri, 30 Oct 2026 06:20:00"}},
		{"five9_report.csv", listCSV, "ok ok ok ok ok ok ok", 1, map[string]any{"CUSTOMER NAME": `Doe, Jane "JD"`}},
		// The log that is never finished: its half-written last line is one bad row.
		{"asterisk_master.csv", asterisk, "ok ok ok ok ok ok ok csv_syntax", 1, map[string]any{"clid": `"Jane Example" <07700900111>`, "billsec": "3"}},
		{"genesys_users.csv", listCSV, "ok ok", 2, map[string]any{"name": "Omar Haddad", "extension": "4102"}},
		{"genesys.json", oneJSON, "ok", 1, map[string]any{"mediaType": "Call", "userIds": []any{"044b3843-515d-53a6-afd3-4062ee0f8e62"},
			"durationMs": int64(3313), "screenRecording": false, "wrapUpCodes": []any{}}},
		{"freeswitch.json", oneJSON, "ok", 1, map[string]any{"switchname": "fs1", "callStats": map[string]any{"audio": map[string]any{}}}},
		{"freeswitch_cut.json", oneJSON, "!json_syntax", 0, nil},
		{"asterisk_master.csv", with(asterisk, func(c *Config) { c.Growing = true }), "ok ok ok ok ok ok ok", 7, nil},
		// Objects back to back, without extension.
		{"amazon_ctr", listJSON, "ok ok ok", 1, nil},
		{"amazon_ctr", oneJSON, "!trailing", 0, nil},
		// It declares ISO-8859-1.
		{"puzzel.xml", oneXML, "ok", 1, map[string]any{"dialogue": map[string]any{"agent_id": "5012", "agent_name": "Bjørn Åsen", "direction": "inbound"}}},
		{"siprec.xml", oneXML, "ok", 1, map[string]any{"datamode": "complete",
			"data": map[string]any{"callDirection": "inbound", "ucid": "000011793649600", "agentId": "70012"}}},
	} {
		t.Run(test.file, func(t *testing.T) {
			rows, bad := rowsOf(t, test.config, fixture(t, test.file))
			if got := outcome(rows, bad); got != test.want {
				t.Fatalf("got %q (%v), want %q", got, bad, test.want)
			}
			for key, want := range test.value {
				got, ok := rows[test.row-1].Value[key]
				if ok != (want != nil) {
					t.Errorf("%s: present %t", key, ok)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", key, diff)
				}
			}
		})
	}
}
