package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"
)

// A usageError is a fault of the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// flagError says in plain words what is wrong with a flag.
func flagError(err error) error {
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &missing):
		f := missing.GetFlag()
		value, _ := pflag.UnquoteUsage(f)
		return usagef("--%s: its value is missing: --%s %s", f.Name, f.Name, value)
	case errors.As(err, &invalid):
		return usagef("--%s %s: %s", invalid.GetFlag().Name, invalid.GetValue(), wanted(invalid))
	}
	return usagef("%w", err)
}

// wanted says what the value of a flag may be.
func wanted(e *pflag.InvalidValueError) string {
	switch e.GetFlag().Value.Type() {
	case "int", "intSlice":
		return "want a whole number"
	case "duration":
		if _, err := strconv.ParseFloat(e.GetValue(), 64); err == nil {
			return fmt.Sprintf("the unit is missing: for seconds say %ss", e.GetValue())
		}
		return "want a time such as 500ms, 10s or 2m"
	case "bool":
		return "want true or false"
	}
	return e.Unwrap().Error()
}
