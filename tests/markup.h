/* markup.h - a strict reader of the XML that a figure may consist of: elements nest, attributes are quoted, entities are
 * known, nothing is scripted, nothing is fetched. */
#ifndef QK_TESTS_MARKUP_H
#define QK_TESTS_MARKUP_H

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MARKUP_DEPTH = 16 };

typedef struct markup {
    const char *p, *start;
    const char *open[MARKUP_DEPTH]; /* names of the open elements, in the text */
    size_t n_open[MARKUP_DEPTH];
    int depth;
    char why[160]; /* what is wrong, "" for nothing */
} markup;

static inline bool markup_fail(markup *m, const char *why)
{
    snprintf(m->why, sizeof m->why, "%s at byte %td: %.60s", why, m->p - m->start, m->p);
    return false;
}

static inline size_t markup_name(const char *p)
{
    size_t n = 0;
    while (isalnum((unsigned char)p[n]) || p[n] == '-' || p[n] == ':') n++;
    return n;
}

/* Characters up to one of `stop`: known entities, no stray '<' or '&', no control characters. */
static inline bool markup_text(markup *m, char stop)
{
    static const char *const entities[] = { "&amp;", "&lt;", "&gt;", "&quot;", "&#39;" };
    for (; *m->p && *m->p != stop; m->p++) {
        bool known = false;
        if (*m->p == '<') return markup_fail(m, "stray '<'");
        if ((unsigned char)*m->p < 0x20 && !strchr("\t\n", *m->p)) return markup_fail(m, "control character");
        if (*m->p != '&') continue;
        for (size_t i = 0; i < sizeof entities / sizeof entities[0]; i++)
            known = known || strncmp(m->p, entities[i], strlen(entities[i])) == 0;
        if (!known) return markup_fail(m, "stray '&'");
    }
    return *m->p == stop || markup_fail(m, "unexpected end");
}

static inline bool markup_attributes(markup *m)
{
    while (*m->p == ' ') {
        const char *name = ++m->p;
        size_t n = markup_name(name);
        m->p += n;
        if (n == 0 || strncmp(m->p, "=\"", 2) != 0) return markup_fail(m, "attribute");
        if (n >= 2 && strncmp(name, "on", 2) == 0) return markup_fail(m, "event handler");
        m->p += 2;
        if (n == 4 && strncmp(name, "href", 4) == 0 && strncmp(m->p, "data:image/png;base64,", 22) != 0)
            return markup_fail(m, "reference");
        if (!markup_text(m, '"')) return false;
        m->p++;
    }
    return true;
}

static inline bool markup_element(markup *m)
{
    bool closing = m->p[1] == '/';
    m->p += closing ? 2 : 1;
    size_t n = markup_name(m->p);
    if (n == 0) return markup_fail(m, "element name");
    if (n == 6 && strncmp(m->p, "script", 6) == 0) return markup_fail(m, "script");
    if (closing) {
        if (m->depth == 0 || m->n_open[m->depth - 1] != n || strncmp(m->open[m->depth - 1], m->p, n) != 0)
            return markup_fail(m, "closing tag");
        m->depth--;
        m->p += n;
        return *m->p++ == '>' || markup_fail(m, "closing tag");
    }
    const char *name = m->p;
    m->p += n;
    if (!markup_attributes(m)) return false;
    if (strncmp(m->p, "/>", 2) == 0) {
        m->p += 2;
        return true;
    }
    if (*m->p++ != '>' || m->depth == MARKUP_DEPTH) return markup_fail(m, "tag");
    m->open[m->depth] = name;
    m->n_open[m->depth++] = n;
    return true;
}

/* One root element after an optional declaration; `m->why` says what is wrong. */
static inline bool markup_check(markup *m, const char *xml)
{
    *m = (markup){ .p = xml, .start = xml };
    if (strncmp(xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", 39) == 0) m->p += 39;
    if (*m->p != '<' || !markup_element(m)) return m->why[0] ? false : markup_fail(m, "root");
    while (m->depth > 0) {
        if (*m->p == '<' ? !markup_element(m) : !markup_text(m, '<')) return false;
    }
    while (*m->p == '\n') m->p++;
    return *m->p == '\0' || markup_fail(m, "after the root");
}

#endif
