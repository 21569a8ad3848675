/*
 * The compiler of formats on texts of exactly their size, for the address sanitizer: in varnishd a format is a literal of
 * the VCL's own object, around which the sanitizer sees nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/cache.h"

#include "compile.h"

#define NAME_50 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

static const struct {
	const char *text;
	const char *why;
} refused[] = {
	{ "", "the format is empty" },
	{ "%", "%: there is no such directive" },
	{ "x%", "%: there is no such directive" },
	{ "%h %", "%: there is no such directive" },
	{ "%z", "%z: there is no such directive" },
	{ "%%", "%%: there is no such directive" },
	{ "%{", "%{: the brace is not closed" },
	{ "x%{", "%{: the brace is not closed" },
	{ "%{Host", "%{Host: the brace is not closed" },
	{ "%{a{b}i", "%{a{b}i: the brace is not closed" },
	{ "%{}", "%{}: there is no such directive" },
	{ "%{Host}", "%{Host}: there is no such directive" },
	{ "%{Host}q", "%{Host}q: there is no such directive" },
	{ "%{m}T", "%{m}T: the unit is none of s, ms, us" },
	{ "%{}t", "%{}t: the time has no text, or one of more than 63 bytes" },
	{ "%{%A" NAME_50 "nnnnn}t", "%{%A" NAME_50 "nnnnn}t: the time has no text, or one of more than 63 bytes" },
	{ "%{%B" NAME_50 "nnnnn}t", "%{%B" NAME_50 "nnnnn}t: the time has no text, or one of more than 63 bytes" },
	{ "%{Varnish:nix}x", "%{Varnish:nix}x: there is no such value" },
	{ "%{VSL:}x", "%{VSL:}x: the tag is missing" },
	{ "%{VSL:Nix}x", "%{VSL:Nix}x: no log tag has this name" },
	{ "%{VSL:Req}x", "%{VSL:Req}x: several log tags have names that begin so" },
	{ "%{VSL:]}x", "%{VSL:]}x: what is in brackets is not the number of a field" },
	{ "%{VSL:[1]}x", "%{VSL:[1]}x: what is in brackets is not the number of a field" },
	{ "%{VSL:Begin[]}x", "%{VSL:Begin[]}x: what is in brackets is not the number of a field" },
	{ "%{VSL:Begin[x]}x", "%{VSL:Begin[x]}x: what is in brackets is not the number of a field" },
	{ "%{VSL:Begin[0]}x", "%{VSL:Begin[0]}x: a field's number is from 1 to 255" },
	{ "%{VSL:Begin[256]}x", "%{VSL:Begin[256]}x: a field's number is from 1 to 255" },
	{ "%{VSL:Debug}x", "%{VSL:Debug}x: records of this tag can hold control characters" },
	{ "%{" NAME_50 NAME_50 NAME_50 NAME_50 NAME_50 "nnnnn}i",
	  "%{nnnnnnnnnnnnnnnnnnnn...}: the name is longer than 254 bytes" },
};

/* Every kind of directive; the longest name there may be; a backslash and a percent sign at the ends of truncations. */
static const char *const good[] = {
	"%{%A" NAME_50 "nnnn}t %{%B" NAME_50 "nnnn}t",
	"%b %D %H %h %I %l %m %O %q %r %s %t %T %U %u",
	"\\\"%s\\\" tab\\t\\n\\\\ \\% %{X-Two}i %{X-Foo}o %{sec}t %{msec_frac}t %{%d/%b}t %{ms}T",
	"%{Varnish:time_firstbyte}x%{Varnish:hitmiss}x%{Varnish:handling}x%{Varnish:side}x%{Varnish:vxid}x",
	"%{VCL_Log:key}x %{VCL_Log:}x %{VSL:Timestamp:Process[2]}x %{VSL:Begin[255]}x %{a{b}c}i \\",
	"%{" NAME_50 NAME_50 NAME_50 NAME_50 NAME_50 "nnnn}o %{VCL_Log:" NAME_50 NAME_50 NAME_50 NAME_50 "}x",
};

/* The first `len` bytes of a format, in an allocation that ends with their NUL; NULL if it compiles, or the reason. */
static const char *
compiled(const char *text, size_t len)
{
	static char why[512];
	char *exact = malloc(len + 1);
	struct format *f;

	if (exact == NULL)
		exit(1);
	memcpy(exact, text, len);
	exact[len] = '\0';
	*why = '\0';
	f = format_compile(exact, why, sizeof why);
	free(exact);
	if ((f == NULL) != (*why != '\0')) {
		(void)fprintf(stderr, "format: '%.*s': a format %s with the reason '%s'\n", (int)len, text,
		    f == NULL ? "is refused" : "compiles", why);
		exit(1);
	}
	format_free(f);
	return (f == NULL ? why : NULL);
}

int
main(void)
{
	unsigned texts = 0, wrong = 0;

	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++, texts++) {
		const char *why = compiled(refused[i].text, strlen(refused[i].text));

		if (why != NULL && strcmp(why, refused[i].why) == 0)
			continue;
		(void)fprintf(stderr, "format: '%s': '%s' instead of '%s'\n", refused[i].text, why == NULL ? "" : why, refused[i].why);
		wrong++;
	}
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		const char *why = compiled(good[i], strlen(good[i]));

		if (why != NULL) {
			(void)fprintf(stderr, "format: '%s': %s\n", good[i], why);
			wrong++;
		}
		for (size_t len = 0; len <= strlen(good[i]); len++, texts++)
			(void)compiled(good[i], len);
	}
	(void)printf("format: %u texts compiled or refused, %u not as expected\n", texts, wrong);
	return (wrong != 0);
}
