package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"tertulia/chat"
)

// maxConfigBytes limits the file of --config.
const maxConfigBytes = 1 << 20

// settleNode fills in what was not given as a flag, from the environment and
// then from the file that --config or TERTULIA_CONFIG names.
func settleNode(flags *pflag.FlagSet, getenv func(string) (string, bool)) error {
	name := flags.Lookup("config").Value.String()
	if name == "" {
		name, _ = getenv(variable("config"))
	}
	if name == "" {
		return settle(flags, getenv, nil)
	}
	info, err := os.Stat(name)
	if err != nil {
		return &chat.Error{Code: chat.CodeInvalid, Message: fmt.Sprintf("The file %s cannot be read.", name), Hint: "Name another with --config FILE.", Err: err}
	}
	if info.Size() > maxConfigBytes {
		return chat.Errorf(chat.CodeInvalid, "The file %s is larger than %d bytes.", name, maxConfigBytes)
	}
	var file map[string]any
	if _, err := toml.DecodeFile(name, &file); err != nil {
		return (&chat.Error{Code: chat.CodeInvalid, Message: fmt.Sprintf("The file %s is not TOML.", name), Err: err}).WithHint("%s", err)
	}
	for _, key := range slices.Sorted(maps.Keys(file)) {
		if key == "config" || key == "help" || flags.Lookup(key) == nil {
			return chat.Errorf(chat.CodeInvalid, "The file %s has a setting that does not exist.", name).
				WithHint("Remove %q; the settings are the flags in: tertulia --help", key)
		}
	}
	return settle(flags, getenv, file)
}

// settle gives every flag that was not given the value of its variable in the
// environment, else of its key in file.
func settle(flags *pflag.FlagSet, getenv func(string) (string, bool), file map[string]any) error {
	var first error
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed || flag.Name == "help" || first != nil {
			return
		}
		if value, ok := getenv(variable(flag.Name)); ok && value != "" {
			values := []string{value}
			if flag.Value.Type() == "stringArray" {
				values = strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == '\n' })
			}
			first = set(flags, flag.Name, "variable "+variable(flag.Name), values)
			return
		}
		if value, ok := file[flag.Name]; ok {
			values, err := fileValues(flag, value)
			if err == nil {
				err = set(flags, flag.Name, "setting "+flag.Name, values)
			}
			first = err
		}
	})
	return first
}

// fileValues returns a TOML value as the words a flag takes.
func fileValues(flag *pflag.Flag, value any) ([]string, error) {
	list, ok := value.([]any)
	if ok && flag.Value.Type() == "stringArray" {
		var words []string
		for _, v := range list {
			words = append(words, fmt.Sprint(v))
		}
		return words, nil
	}
	switch value := value.(type) {
	case string, bool, int64:
		return []string{fmt.Sprint(value)}, nil
	}
	return nil, chat.Errorf(chat.CodeInvalid, "The setting %s cannot have such a value.", flag.Name).
		WithHint("%s takes a %s.", flag.Name, flag.Value.Type())
}

func set(flags *pflag.FlagSet, name, source string, values []string) error {
	for _, value := range values {
		if err := flags.Set(name, value); err != nil {
			return &chat.Error{
				Code:    chat.CodeInvalid,
				Message: fmt.Sprintf("The %s cannot be %q.", source, value),
				Hint:    fmt.Sprintf("It takes a %s; see: tertulia --help", flags.Lookup(name).Value.Type()),
				Err:     err,
			}
		}
	}
	return nil
}

// variable is the name of a flag in the environment.
func variable(flag string) string {
	return "TERTULIA_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
