package mapping_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/mapping"
)

func TestExplain(t *testing.T) {
	s := compileSource(t, mapping.SourceConfig{TimeZone: "America/Chicago", Accept: `csv.status == "ok"`,
		Sidecars: []mapping.SidecarExprs{{Name: "csv"}, {Name: "users", Key: `row.id`, MediaKey: `lower(csv.agent)`}},
		Call: map[string]string{"started_at": `time(csv.date + " " + csv.time, "2006-01-02 15:04")`, "direction": `"unknown"`,
			"agent_name": `let who = users.name ?? csv.agent; upper(who)`}})
	env := mapping.Env{Docs: map[string]map[string]any{"csv": {"date": "2026-11-02", "time": "14:05", "agent": "U1", "status": "ok"}}}
	type part struct {
		expr  string
		value any
	}
	for field, want := range map[string][]part{
		"accept": {{`csv.status`, "ok"}, {`csv.status == "ok"`, true}},
		"call.started_at": {{`csv.date`, "2026-11-02"}, {`csv.date + " "`, "2026-11-02 "}, {`csv.time`, "14:05"}, {`csv.date + " " + csv.time`, "2026-11-02 14:05"},
			{`time(csv.date + " " + csv.time, "2006-01-02 15:04")`, time.Date(2026, 11, 2, 20, 5, 0, 0, time.UTC)}},
		"call.agent_name":         {{`users.name`, nil}, {`csv.agent`, "U1"}, {`users.name ?? csv.agent`, "U1"}, {`let who = users.name ?? csv.agent; upper(who)`, "U1"}},
		"sidecar.users.media_key": {{`csv.agent`, "U1"}, {`lower(csv.agent)`, "u1"}},
	} {
		got := s.Tracer(field).Recording(env)
		seen := map[string]any{}
		for _, p := range got.Steps {
			if p.Err != nil {
				t.Errorf("%s: %s: %v", field, p.Expr, p.Err)
			}
			if at, ok := p.Value.(time.Time); ok {
				p.Value = at.UTC()
			}
			seen[p.Expr] = p.Value
		}
		for _, w := range want {
			if v, ok := seen[w.expr]; !ok || v != w.value {
				t.Errorf("%s: %s gives %v (there: %v), want %v; all parts: %v", field, w.expr, v, ok, w.value, seen)
			}
		}
		if last := got.Steps[len(got.Steps)-1]; last.Expr != want[len(want)-1].expr || got.Expr != last.Expr {
			t.Errorf("%s: the last part is %s", field, last.Expr)
		}
	}
	env.Docs["csv"]["time"] = "five past two"
	got := s.Tracer("call.started_at").Recording(env)
	wantFieldError(t, got.Steps[len(got.Steps)-1].Err, "call.started_at", "bad_time")
	if s.Tracer("call.nonsense") != nil {
		t.Error("an unknown field is explained")
	}
}

// traced is an explanation as one text.
func traced(x mapping.Explanation) string {
	var b strings.Builder
	for _, p := range x.Steps {
		if at, ok := p.Value.(time.Time); ok {
			p.Value = at.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(&b, "%s=%v", p.Expr, p.Value)
		if p.Err != nil {
			fmt.Fprintf(&b, "!%v", p.Err)
		}
		b.WriteString("; ")
	}
	return b.String()
}

func TestExplainRows(t *testing.T) {
	s := rowsSource(t, mapping.SidecarExprs{Key: `[row.id, file.stem + "-" + row.id]`, MediaKey: `file.stem`, Where: `row.kind == "call"`,
		Prefer: `number(row.version)`, At: `time(row.at)`, MediaAt: `time("2026-11-02 14:00:00")`})
	row := map[string]any{"id": "7", "kind": "chat", "version": "x", "at": "2026-11-02 08:00:00"}
	for field, want := range map[string]string{
		"key":    `row.id=7; file.stem=day; file.stem + "-"=day-; file.stem + "-" + row.id=day-7; [row.id, file.stem + "-" + row.id]=[7 day-7]; `,
		"where":  `row.kind=chat; row.kind == "call"=false; `,
		"prefer": `row.version=x; number(row.version)=<nil>!sidecar.list.prefer: `,
		"at":     `row.at=2026-11-02 08:00:00; time(row.at)=2026-11-02T16:00:00Z; `,
	} {
		field = "sidecar.list." + field
		if s.RowFields()[field] != "list" || slices.Contains(s.Fields(), field) {
			t.Errorf("%s is not known as one of a row: %v, %v", field, s.RowFields(), s.Fields())
		}
		if got := traced(s.Tracer(field).Row("lists/day.csv", row)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s\nwant %s", field, got, want)
		}
	}
	if _, ok := s.RowFields()["sidecar.list.media_at"]; ok || !slices.Contains(s.Fields(), "sidecar.list.media_at") {
		t.Error("media_at is taken for one of a row")
	}
}

func TestExplainItems(t *testing.T) {
	item := call.Item{Call: call.Record{AgentName: "Dana", Custom: map[string]any{"Site": int64(7)}}, Delivery: call.DeliveryOf("k")}
	fields, err := mapping.CompileFields(map[string]string{"Agent": `upper(call.agent_name)`, "Site": `call.custom.Site ?? "none"`, "Skill": `call.custom.Skill`})
	if err != nil {
		t.Fatal(err)
	}
	text, err := mapping.CompileText("correlation_id", `"x-" + delivery.idem_key`)
	if err != nil {
		t.Fatal(err)
	}
	for want, tracer := range map[string]*mapping.Tracer{
		`call.agent_name=Dana; upper(call.agent_name)=DANA; `: fields.Tracer("destination.v.fields.Agent", "Agent"),
		`call.custom.Site=7; call.custom.Site ?? "none"=7; `:  fields.Tracer("destination.v.fields.Site", "Site"),
		`call.custom.Skill=<nil>; `:                           fields.Tracer("destination.v.fields.Skill", "Skill"),
		`delivery.idem_key=k; "x-" + delivery.idem_key=x-k; `: text.Tracer("destination.v.correlation_id"),
	} {
		if got := traced(tracer.Item(item)); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	if got := fields.Names(); !slices.Equal(got, []string{"Agent", "Site", "Skill"}) {
		t.Error(got)
	}
}
