package ledger

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"
)

// scanner is a row to be read.
type scanner interface{ Scan(dest ...any) error }

// rawRow is a row as the driver gave it.
type rawRow []driver.Value

// Scan reads the row into pointers of the types that the ledger uses. Unlike
// database/sql it converts nothing: a column of another type is a defect.
func (r rawRow) Scan(dest ...any) error {
	if len(dest) != len(r) {
		return fmt.Errorf("scan: %d columns into %d variables", len(r), len(dest))
	}
	for i, v := range r {
		if !assign(dest[i], v) {
			return fmt.Errorf("scan: column %d is %T, not %T", i+1, v, dest[i])
		}
	}
	return nil
}

func assign(dest any, v driver.Value) bool {
	if s, ok := dest.(sql.Scanner); ok {
		return s.Scan(v) == nil
	}
	switch v := v.(type) {
	case nil:
		d, ok := dest.(*[]byte)
		if ok {
			*d = nil
		}
		return ok
	case int64:
		return assignInt(dest, v)
	case string:
		switch d := dest.(type) {
		case *string:
			*d = v
		case *[]byte:
			*d = []byte(v)
		default: // a type of states
			p := reflect.ValueOf(dest).Elem()
			if p.Kind() != reflect.String {
				return false
			}
			p.SetString(v)
		}
		return true
	case []byte:
		d, ok := dest.(*[]byte)
		if ok {
			*d = v
		}
		return ok
	default:
		return false
	}
}

func assignInt(dest any, v int64) bool {
	switch d := dest.(type) {
	case *int64:
		*d = v
	case *int:
		*d = int(v)
	case *bool:
		*d = v != 0
	default:
		return false
	}
	return true
}
