//go:build !torture

package failpoint

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// Without the tag not even the name of the variable is in a program.
func TestWithoutTheTagThereIsNothing(t *testing.T) {
	t.Setenv("INGESTD_FAILPOINTS", "here=panic")
	if err := Hit("here"); Enabled || err != nil {
		t.Errorf("enabled %v, %v", Enabled, err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(program, []byte(strings.Join([]string{"INGESTD", "FAILPOINTS", "TRACE"}, "_"))) {
		t.Error("the code is in a program without the tag")
	}
	if n := testing.AllocsPerRun(100, func() { _ = Hit("here") }); n != 0 {
		t.Errorf("a point allocates %v times", n)
	}
}
