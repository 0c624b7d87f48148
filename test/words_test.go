package test

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a page is measured by. The numbers hold nothing back: they show where to look.
const (
	wordsPerSentence = 25
	columnsOfTable   = 4
	wordsPerCell     = 15
	worst            = 10 // places that are shown of each kind
)

var (
	pageComment   = regexp.MustCompile(`(?s)<!--.*?-->`)
	codeSpan      = regexp.MustCompile("`[^`\n]*`")
	codeBlock     = regexp.MustCompile("(?ms)^ *```.*?^ *```$") // in an item of a list, too
	endOfSentence = regexp.MustCompile(`[.!?][)*_"]*\s+`)
	oneWord       = regexp.MustCompile(`[\p{L}\p{N}][\p{L}\p{N}'’_.@/-]*`)
	youWord       = regexp.MustCompile(`(?i)\b(you|your|yours|yourself)\b`)
	negation      = regexp.MustCompile(`(?i)\b(no|not|none|nothing|nobody|never|neither|nor|cannot|without|\w+n't)\b`)
	listItem      = regexp.MustCompile(`^\s*([-*]|\d+\.)\s+`)
	ruleOfTable   = regexp.MustCompile(`^[\s|:-]+$`)
)

// A finding is a place of a page, and how bad it is.
type finding struct {
	size  int
	place string
}

// prose has the measures of one page, or of all.
type prose struct {
	sentences, count, you, negations, long, chained, tables, wide, cells, fat int
	longest, heavy, broad                                                     []finding
}

// TestWords counts what can be counted of how the pages are written. It never fails over what it
// finds: go test ./test -run Words -v prints the figures, and the worst places of each kind.
func TestWords(t *testing.T) {
	var all prose
	var silent []string
	var denying []finding
	found := pages(t)
	slices.Sort(found)
	for _, page := range slices.Compact(found) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		w := measure(strings.TrimPrefix(page, "../"), string(text))
		all.add(w)
		if w.count == 0 {
			continue
		}
		if w.you == 0 {
			silent = append(silent, strings.TrimPrefix(page, "../"))
		}
		per := 1000 * w.negations / w.count
		denying = append(denying, finding{per, fmt.Sprintf("%s: %d negations in 1,000 words", strings.TrimPrefix(page, "../"), per)})
	}
	t.Logf("%d pages, %d words, %d sentences of %.1f words", len(denying), all.count, all.sentences, float64(all.count)/float64(all.sentences))
	t.Logf("%d sentences of more than %d words, %d with two colons or a semicolon", all.long, wordsPerSentence, all.chained)
	t.Logf("%.1f negations in 1,000 words; %d pages never say you: %s", 1000*float64(all.negations)/float64(all.count), len(silent),
		strings.Join(silent, " "))
	t.Logf("%d tables, %d of more than %d columns; %d cells, %d of more than %d words", all.tables, all.wide, columnsOfTable, all.cells,
		all.fat, wordsPerCell)
	show(t, "negations", denying)
	show(t, "the longest sentences", all.longest)
	show(t, "the fullest cells", all.heavy)
	show(t, "the widest tables", all.broad)
}

func show(t *testing.T, title string, found []finding) {
	slices.SortStableFunc(found, func(a, b finding) int { return cmp.Compare(b.size, a.size) })
	t.Logf("== %s", title)
	for _, f := range found[:min(worst, len(found))] {
		t.Log(f.place)
	}
}

func (w *prose) add(v prose) {
	for _, f := range []struct {
		sum *int
		n   int
	}{
		{&w.sentences, v.sentences}, {&w.count, v.count}, {&w.you, v.you}, {&w.negations, v.negations}, {&w.long, v.long},
		{&w.chained, v.chained}, {&w.tables, v.tables}, {&w.wide, v.wide}, {&w.cells, v.cells}, {&w.fat, v.fat},
	} {
		*f.sum += f.n
	}
	w.longest, w.heavy, w.broad = append(w.longest, v.longest...), append(w.heavy, v.heavy...), append(w.broad, v.broad...)
}

// measure counts the words of a page, but for its code. What stands between back-quotes is a word.
func measure(page, text string) (w prose) {
	blank := func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) } // the numbers of the lines stay
	text = codeBlock.ReplaceAllStringFunc(text, blank)
	text = pageComment.ReplaceAllStringFunc(text, blank)
	text = codeSpan.ReplaceAllString(linkText.ReplaceAllString(text, "$1"), "code")
	var paragraph []string
	began, inTable := 0, false
	end := func() {
		w.paragraph(page, began, strings.Join(paragraph, " "))
		paragraph = nil
	}
	for i, line := range strings.Split(text, "\n") {
		row := strings.HasPrefix(strings.TrimSpace(line), "|")
		if row && !inTable {
			w.tables++
			head := strings.Trim(strings.TrimSpace(strings.ReplaceAll(line, `\|`, "")), "|")
			if columns := strings.Count(head, "|") + 1; columns > columnsOfTable {
				w.wide++
				w.broad = append(w.broad, finding{columns, fmt.Sprintf("%s:%d: %d columns", page, i+1, columns)})
			}
		}
		inTable = row
		switch {
		case row:
			end()
			if !ruleOfTable.MatchString(line) {
				w.row(page, i+1, line)
			}
			continue
		case strings.TrimSpace(line) == "", strings.HasPrefix(line, "#"):
			end()
			continue
		case listItem.MatchString(line):
			end()
			line = listItem.ReplaceAllString(line, "")
		}
		if paragraph == nil {
			began = i + 1
		}
		paragraph = append(paragraph, strings.TrimSpace(line))
	}
	end()
	return w
}

// paragraph counts the sentences of a paragraph, or of an item of a list.
func (w *prose) paragraph(page string, line int, text string) {
	for _, s := range endOfSentence.Split(text+" ", -1) {
		n := len(oneWord.FindAllString(s, -1))
		if n == 0 {
			continue
		}
		w.sentences++
		w.say(s, n)
		if strings.Contains(s, "; ") || strings.Count(s, ": ") > 1 {
			w.chained++
		}
		if n > wordsPerSentence {
			w.long++
			w.longest = append(w.longest, finding{n, fmt.Sprintf("%s:%d: %d words: %s", page, line, n, s)})
		}
	}
}

func (w *prose) row(page string, line int, text string) {
	for cell := range strings.SplitSeq(strings.ReplaceAll(text, `\|`, " "), "|") {
		n := len(oneWord.FindAllString(cell, -1))
		if n == 0 {
			continue
		}
		w.cells++
		w.say(cell, n)
		if n > wordsPerCell {
			w.fat++
			w.heavy = append(w.heavy, finding{n, fmt.Sprintf("%s:%d: %d words: %s", page, line, n, strings.TrimSpace(cell))})
		}
	}
}

func (w *prose) say(text string, n int) {
	w.count += n
	w.you += len(youWord.FindAllString(text, -1))
	w.negations += len(negation.FindAllString(text, -1))
}

func TestWordsCounts(t *testing.T) {
	many := func(n int) string { return strings.TrimSpace(strings.Repeat("word ", n)) }
	w := measure("p.md", "# Not a title\n\nYou have `a b c` and [a link](x.md). It is not\nthere; no: one: two.\n\n"+
		"```go\nnot this\n```\n| a | b | c | d | e |\n|---|---|---|---|---|\n| "+many(16)+" | never | | | |\n\n- one\n- "+many(26)+"\n")
	require.Equal(t, 4, w.sentences)
	require.Equal(t, []int{1, 3, 1, 1}, []int{w.you, w.negations, w.long, w.chained})
	require.Equal(t, []int{1, 1, 7, 1}, []int{w.tables, w.wide, w.cells, w.fat})
	require.Equal(t, "p.md:14: 26 words: "+many(26), strings.TrimSpace(w.longest[0].place))
}
