package pipeline

import (
	"slices"
	"testing"
	"time"
)

// Recordings are named by numbers from 1 on, rows by their index; times are
// seconds. own is the recording that is asked for.
func TestNearestAssignment(t *testing.T) {
	for _, test := range []struct {
		name       string
		recordings []int // recording 1 first
		rows       []int
		own        int64
		want       []int
	}{
		{"one of each", []int{10}, []int{12}, 1, []int{0}},
		{"nothing within the window", []int{10}, []int{200}, 1, nil},
		{"on the edge of the window", []int{10}, []int{110}, 1, []int{0}},
		{"the nearer of two rows", []int{10}, []int{0, 12}, 1, []int{1}},
		{"two rows equally near", []int{10}, []int{8, 12}, 1, []int{0, 1}},
		{"each its own", []int{10, 90}, []int{12, 85}, 1, []int{0}},
		{"each its own, the other", []int{10, 90}, []int{12, 85}, 2, []int{1}},
		{"the row belongs to who is nearer", []int{10, 40}, []int{35}, 1, nil},
		{"the next row when the nearest belongs to another", []int{30, 36}, []int{35, 80}, 1, []int{1}},
		{"a row that is equally near but taken is no tie", []int{10, 11}, []int{8, 12}, 1, []int{0}},
		{"a row without time", []int{10}, []int{-1}, 1, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			clock := func(seconds int) time.Time {
				if seconds < 0 {
					return time.Time{}
				}
				return time.Unix(int64(1_000_000+seconds), 0)
			}
			var at []time.Time
			for _, s := range test.rows {
				at = append(at, clock(s))
			}
			var pairs []pairInTime
			for i, s := range test.recordings {
				pairs = within(pairs, int64(i+1), clock(s), at, 100*time.Second)
			}
			if got := assign(pairs, test.own); !slices.Equal(got, test.want) {
				t.Fatalf("rows %v, want %v", got, test.want)
			}
		})
	}
}
