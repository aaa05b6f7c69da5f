package ui

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// texts returns what strings.go can show: each constant named text… or plural….
func texts(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "strings.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || strings.HasSuffix(spec.Names[0].Name, "Fallback") {
			return true
		}
		name := spec.Names[0].Name
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || !strings.HasPrefix(name, "text") && !strings.HasPrefix(name, "plural") {
			return true
		}
		text, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
		return true
	})
	for d := time.Sunday; d <= time.Saturday; d++ {
		out = append(out, d.String())
	}
	for m := time.January; m <= time.December; m++ {
		out = append(out, m.String())
	}
	return out
}

func translation(t *testing.T, name string) map[string]any {
	t.Helper()
	data, err := translations.ReadFile("translations/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// blanks lists what a text has to be filled with.
func blanks(v any) []string {
	field := regexp.MustCompile(`\{\{\.\w+\}\}`)
	switch v := v.(type) {
	case string:
		out := field.FindAllString(v, -1)
		slices.Sort(out)
		return out
	case map[string]any:
		return append(append([]string{}, blanks(v["one"])...), blanks(v["other"])...)
	}
	return []string{"neither a text nor its plural forms"}
}

func TestEveryTextIsInBothLanguages(t *testing.T) {
	all := texts(t)
	if len(all) < 100 {
		t.Fatalf("only %d texts found in strings.go", len(all))
	}
	english := translation(t, "en")
	for name, file := range map[string]map[string]any{"en": english, "pt-BR": translation(t, "pt-BR")} {
		for _, text := range all {
			if v, ok := file[text]; !ok || v == "" {
				t.Errorf("%s.json lacks %q", name, text)
			} else if got, want := blanks(v), blanks(english[text]); !slices.Equal(got, want) {
				t.Errorf("%s.json: %q has the blanks %v, want %v", name, text, got, want)
			}
		}
		for key := range file {
			if !slices.Contains(all, key) {
				t.Errorf("%s.json has %q, which is nowhere shown", name, key)
			}
		}
	}
	for key, text := range english {
		if s, ok := text.(string); ok && s != key {
			t.Errorf("en.json says %q for %q", s, key)
		}
	}
}

func TestCountsAndDaysInWords(t *testing.T) {
	if err := speak(LanguageEnglish); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{1: "1 member", 2: "2 members", 1200: "1,200 members"} {
		if got := textOfMembers(n); got != want {
			t.Errorf("textOfMembers(%d) = %q, want %q", n, got, want)
		}
	}
	day := time.Date(2026, 3, 2, 12, 0, 0, 0, time.Local)
	for now, want := range map[time.Time]string{
		day: "Today", day.AddDate(0, 0, 1): "Yesterday", day.AddDate(0, 1, 0): "Monday, 2 March", day.AddDate(1, 0, 0): "Monday, 2 March 2026",
	} {
		if got := textOfDay(day, now); got != want {
			t.Errorf("textOfDay = %q, want %q", got, want)
		}
	}
}
