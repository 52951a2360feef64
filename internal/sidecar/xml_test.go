package sidecar

import (
	"strings"
	"testing"
)

type object = map[string]any

// How an element becomes a value.
func TestXML(t *testing.T) {
	for _, test := range []struct {
		name   string
		config Config
		data   string
		want   string // as outcome
		value  map[string]any
	}{
		{"texts", oneXML, "<c><id> 7 </id><empty/><blank>  </blank></c>", "ok", object{"id": "7", "empty": "", "blank": ""}},
		{"nested", oneXML, "<c><agent><name>A</name></agent></c>", "ok", object{"agent": object{"name": "A"}}},
		{"repeated", oneXML, "<c><p>1</p><q/><p>2</p><p>3</p></c>", "ok", object{"p": []any{"1", "2", "3"}, "q": ""}},
		{"attributes", oneXML, `<c id="1"><p role="agent">A</p></c>`, "ok", object{"id": "1", "p": object{"role": "agent", "text": "A"}}},
		{"attribute and element of one name", oneXML, `<c id="1"><id>2</id></c>`, "ok", object{"id": "2", "@id": "1"}},
		{"name spaces", oneXML, `<a:c xmlns:a="urn:x" xmlns="urn:y"><a:d b:e="1" xmlns:b="urn:z">t</a:d></a:c>`, "ok", object{"d": object{"e": "1", "text": "t"}}},
		{"language", oneXML, `<c><name xml:lang="en">A</name></c>`, "ok", object{"name": "A"}},
		{"entities", oneXML, `<c><n>a &amp; b &#233;</n></c>`, "ok", object{"n": "a & b é"}},
		{"cdata and comment", oneXML, `<c><n><![CDATA[<x>]]><!-- y --> z</n></c>`, "ok", object{"n": "<x> z"}},
		{"instruction and doctype", oneXML, `<?xml version="1.0"?><!DOCTYPE c SYSTEM "c.dtd"><?style x?><c><n>1</n></c>`, "ok", object{"n": "1"}},
		{"mark", oneXML, "\ufeff<c><n>é</n></c>", "ok", object{"n": "é"}},
		{"utf-16", oneXML, "\xff\xfe" + utf16le(`<?xml version="1.0" encoding="UTF-16"?><c><n>é</n></c>`), "ok", object{"n": "é"}},
		{"declared latin-1", oneXML, "<?xml version='1.0' encoding='ISO-8859-1'?><c><n>Jos\xe9</n></c>", "ok", object{"n": "José"}},
		{"configured before declared", with(oneXML, encoded("windows-1252")), "<?xml version='1.0' encoding='ISO-8859-1'?><c><n>\x93</n></c>", "ok", object{"n": "“"}},
		{"list", listXML, "<calls><call><id>1</id></call><x/><call><id>2</id></call></calls>", "ok ok", object{"id": "1"}},
		{"list, deeper", listXML, "<a><b><call><id>1</id></call></b><call id='2'/></a>", "ok ok", object{"id": "1"}},
		{"list of one", listXML, "<call><id>1</id></call>", "ok", object{"id": "1"}},
		{"list, bad element", listXML, "<a><call>1</call><call id='2'/></a>", "type ok", nil},
	} {
		t.Run(test.name, func(t *testing.T) { checkOutcome(t, test.config, test.data, test.want, test.value) })
	}
}

func TestBadXML(t *testing.T) {
	for _, test := range []struct {
		name   string
		config Config
		data   string
		want   string
	}{
		{"empty", oneXML, "", "!no_record"},
		{"blank", oneXML, " \n", "!no_record"},
		{"only a declaration", oneXML, `<?xml version="1.0"?>`, "!no_record"},
		{"no such record", listXML, "<a><b/></a>", "!no_record"},
		{"text", oneXML, "hello", "!xml_syntax"},
		{"only text in the root", oneXML, "<c>hello</c>", "!type"},
		{"cut off", oneXML, "<c><n>1</n>", "!xml_syntax"},
		{"cut off in a tag", oneXML, "<c><n", "!xml_syntax"},
		{"cut off list", listXML, "<a><call><id>1</id></call><call><id>", "ok !xml_syntax"},
		{"wrong end", oneXML, "<c><n></c>", "!xml_syntax"},
		{"two roots", oneXML, "<c><n/></c><c><n/></c>", "ok !trailing"},
		{"text behind", oneXML, "<c><n/></c> x", "ok !xml_syntax"},
		{"not UTF-8", oneXML, "<c><n>Jos\xe9</n></c>", "!encoding"},
		{"not UTF-8 in an attribute", oneXML, "<c n='Jos\xe9'/>", "!encoding"},
		{"unknown declared encoding", oneXML, "<?xml version='1.0' encoding='klingon'?><c><n/></c>", "!encoding"},
		{"another version", oneXML, "<?xml version='1.1'?><c><n/></c>", "!xml_syntax"},
		{"control character", oneXML, "<c><n>\x01</n></c>", "!xml_syntax"},
		{"unknown entity", oneXML, "<c><n>&nbsp;</n></c>", "!xml_syntax"},
		{"own entities", oneXML, `<!DOCTYPE c [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><c><n>&b;</n></c>`, "!doctype"},
		{"attribute twice", oneXML, "<c a='1' a='2'/>", "!duplicate_key"},
		{"depth", oneXML, strings.Repeat("<c>", 33) + strings.Repeat("</c>", 33), "!depth"},
		{"depth above the record", listXML, strings.Repeat("<c>", 33) + strings.Repeat("</c>", 33), "!depth"},
		{"page", oneXML, "<html><body><br></body></html>", "!xml_syntax"},
		{"document", oneXML, "<c><n>" + strings.Repeat("x", 1<<20) + "</n></c>", "!too_large"},
		{"record", listXML, "<a><call><n>" + strings.Repeat("x", 1<<21) + "</n></call></a>", "!too_large"},
		{"blanks", listXML, "<a>" + strings.Repeat(" ", 1<<21) + "</a>", "!too_large"},
	} {
		t.Run(test.name, func(t *testing.T) { checkOutcome(t, test.config, test.data, test.want, nil) })
	}
}

// A list of many records needs the memory of one.
func TestLongXMLList(t *testing.T) {
	one := "<call><id>" + strings.Repeat("x", 1<<16) + "</id></call>\n"
	rows := 0
	err := Read(strings.NewReader("<a>"+strings.Repeat(one, 100)+"</a>"), -1, listXML, func(Row) error { rows++; return nil })
	if err != nil || rows != 100 {
		t.Fatalf("%d rows, %v", rows, err)
	}
}

func FuzzXML(f *testing.F) {
	seeds(f, "<c><n>1</n></c>", "<a><call id='1'/><call id='2'>x</call></a>", "<?xml version='1.0' encoding='ISO-8859-1'?><c><n>\xe9</n></c>", "<!DOCTYPE c [<!ENTITY a 'b'>]><c>&a;</c>", "<c><![CDATA[")
	f.Fuzz(func(t *testing.T, data []byte, mode byte) {
		c := oneXML
		if mode&1 != 0 {
			c = listXML
		}
		lim := limits{document: 4096, list: 8192, rows: 50, depth: 6}
		for _, row := range promises(t, data, c, lim) {
			if d := depthOf(row.Value); row.Err == nil && d > lim.depth*2 { // a list of equal names is a level of its own
				t.Fatalf("depth %d", d)
			}
		}
	})
}
