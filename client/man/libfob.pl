#!/usr/bin/perl
# libfob.pl HEADER CHANGELOG FOLDER - make the manual pages of libfob from its header, so that they cannot differ.
#
# What it reads, separated by blank lines:
#   /* ---- name ---- */         a section of libfob(3)'s list of functions
#   a comment alone              a chapter of libfob(3); its first line is the heading
#   a comment "name(args):" and declarations
#                                a page of its first function, with links from the others. The first sentence is the
#                                line of whatis(1). "Returns:" and the like come last. A comment before a callback's
#                                type is about that callback
#   anything else                types and constants, which libfob(3) has all, and a page those that it uses
use strict;
use warnings FATAL => 'all';
use Mdoc;

my ($header, $changelog, $folder) = @ARGV;
die "usage: libfob.pl HEADER CHANGELOG FOLDER\n" unless defined $folder;

my (@chapters, @sections, @constants, @types, %type_named);

# ---- reading ----

# A comment without its frame.
sub comment_lines {
	my ($comment) = @_;
	$comment =~ s{^/\*+ ?\n?}{};
	$comment =~ s{\n? *\*/$}{};
	return map { s/^ \* ?//r } split(/\n/, $comment);
}

# split_comment(chunk): the lines of the comment that it begins with, and the rest.
sub split_comment {
	my ($chunk) = @_;
	return ([comment_lines($1)], $2) if $chunk =~ m{^(/\*.*?\*/)\n?(.*)$}s;
	return ([], $chunk);
}

# The parameters of a prototype.
sub parameters {
	my ($list) = @_;
	return map { s/^\s+|\s+$//gr } split(/,/, $list =~ s/\s+/ /gr);
}

sub read_page {
	my ($lines, $declarations) = @_;
	my $page = { functions => [], declared => [], about => [] };
	my $first = '';
	$first .= ' ' . shift(@$lines) until $first =~ /:$/;
	while ($declarations =~ m{\G\s*(?:(/\*.*?\*/)\s*)?([^;]+);}gs) {
		my ($comment, $declaration) = ($1, $2);
		$declaration =~ /^(.*?)(\(\*\w+\)|\b\w+)\(([^()]*)\)$/s or die "$header: not understood: $declaration\n";
		my ($type, $name, $parameters) = ($1, $2, $3);
		push(@{ $page->{declared} }, { type => $type =~ s/\s+$//r, name => $name, parameters => [parameters($parameters)] });
		push(@{ $page->{functions} }, $name) if $name !~ /^\(/;
		push(@{ $page->{about} }, [$name =~ tr/(*)//dr, join(' ', comment_lines($comment))]) if defined $comment;
	}
	my @told = $first =~ /(fob_\w+)\(/g;
	my %declared = map { $_ => 1 } @{ $page->{functions} };
	$declared{$_} or die "$header: $_() is described, and not declared there\n" for @told;
	@told or die "$header: no function: $first\n";
	$page->{name} = $page->{functions}[0];
	$page->{lines} = $lines;
	($page->{summary}) = join(' ', @$lines) =~ /^(.*?[^.])[.:](?: |$)/;
	push(@{ $sections[-1]{pages} }, $page);
}

# A chunk may define several types; its comment is about the first.
sub read_types {
	my ($lines, $code) = @_;
	if ($code !~ /^(?:struct|enum) \w+/m) {
		push(@constants, { lines => $lines, code => $code });
		return;
	}
	for my $part (split(/^(?=(?:struct|enum) \w+)/m, $code)) {
		if ($part =~ /^((?:struct|enum) \w+)/) {
			my $type = { name => $1, lines => $lines, code => $part };
			$type_named{$1} = $type;
			push(@types, $type);
			$lines = [];
		}
	}
}

sub read_header {
	my $text = read_file($header);
	my ($intro) = $text =~ m{^(/\*.*?\*/)}s or die "$header: no introduction\n";
	my ($body) = $text =~ /visibility push\(default\)\n#endif\n(.*?)#ifdef __GNUC__\n#pragma GCC visibility pop/s
	    or die "$header: no declarations\n";
	@sections = ({ name => '', pages => [] });
	for my $chunk (split(/\n\n+/, $body)) {
		$chunk =~ s/^\n+|\n+$//g;
		next if $chunk eq '';
		if ($chunk =~ m{^/\* ---- (.*) ---- \*/$}) {
			push(@sections, { name => $1, pages => [] });
			next;
		}
		my ($lines, $code) = split_comment($chunk);
		if ($code eq '') {
			push(@chapters, $lines);
		} elsif (@$lines and $lines->[0] =~ /^fob_\w+\(/) {
			read_page($lines, $code);
		} else {
			read_types($lines, $code);
		}
	}
	return [comment_lines($intro)];
}

# ---- writing ----

# prose(lines, functions, labels): paragraphs, lists, code and "Label: text". With ${labels} the last are put there, in
# pairs.
sub prose {
	my ($lines, $here, $labels) = @_;
	my ($out, $kind, @words, $label) = ('', '');
	my $in_list = '';
	my $end = sub {
		if ($kind eq 'code') {
			$out .= literal(join("\n", map { s/^\t//r } @words)) . ".Pp\n";
		} elsif ($kind eq 'label' and $labels) {
			push(@$labels, [$label, text(join(' ', @words), $here)]);
		} elsif ($kind ne '') {
			my $list = $kind eq 'item' ? '.Bl -bullet' : $kind eq 'label' ? '.Bl -tag -width Ds' : '';
			$out .= ".El\n.Pp\n" if $in_list ne '' and $in_list ne $list;
			$out .= "$list\n" if $list ne '' and $in_list ne $list;
			$in_list = $list;
			$out .= $kind eq 'item' ? ".It\n" : $kind eq 'label' ? ".It $label\n" : '';
			$out .= text(join(' ', @words), $here) . ($list eq '' ? ".Pp\n" : '');
		}
		($kind, @words) = ('');
	};
	for my $line (@$lines, '') {
		if ($line =~ /^\s*$/) {
			$end->();
		} elsif ($line =~ /^\t/) {
			$end->() if $kind ne 'code';
			$kind = 'code';
			push(@words, $line);
		} elsif ($line =~ /^- (.*)/) {
			$end->();
			($kind, @words) = ('item', $1);
		} elsif (($kind =~ /^(?:label)?$/ or $labels or $words[-1] =~ /:$/) and $line =~ /^(\w+): +(.*)/) {
			$end->();
			($kind, $label, @words) = ('label', $1, $2);
		} else {
			$kind = 'text' if $kind eq '';
			push(@words, $line =~ s/^\s+//r);
		}
	}
	$out .= ".El\n" if $in_list ne '';
	return $out;
}

# Definitions for a terminal of 80 columns: a comment that is too long for its line stands before it.
sub narrow {
	my ($code) = @_;
	my @out;
	$code =~ s{^(\t?)/\*\n(.*?)\n\t? \*/$}{"$1/* " . join(' ', map { s/^\s*\* ?//r } split(/\n/, $2)) . ' */'}gems;
	$code =~ s/ *\\\n\s+/ /g;
	$code =~ s/\$\{(\w+)\}/$1/g;
	for my $line (split(/\n/, $code)) {
		$line =~ s/\t/    /g;
		$line =~ s/(\S) {2,}(\/\*)/$1 $2/ if length($line) > 76;
		if (length($line) <= 76) {
			push(@out, $line);
		} elsif ($line =~ m{^( *)(\S.*\S)? */\* (.*) \*/$}) {
			my ($indent, $member, $comment) = ($1, $2, $3);
			my @comment = split(/\n/, wrapped("$comment", 76, "$indent * ", "$indent * "));
			push(@out, @comment > 1 ? ("$indent/*", @comment, "$indent */") : "$indent/* $comment */");
			push(@out, "$indent$member") if defined $member;
		} elsif ($line =~ /^(enum \w+ \{) (.*) \};$/) {
			push(@out, $1, (map { "    $_" } split(/(?<=,) /, $2)), '};');
		} elsif ($line =~ /^(#define \w+) (.*)/) {
			push(@out, "$1 \\", map { "    $_" } split(/(?<=,) /, $2));
			$out[$_] .= ' \\' for $#out - (split(/(?<=,) /, $2)) + 1 .. $#out - 1;
		} else {
			push(@out, $line);
		}
	}
	return join("\n", @out);
}

sub definition {
	my ($type, $here) = @_;
	return (@{ $type->{lines} } ? ".Pp\n" . prose($type->{lines}, $here) : '') . literal(narrow($type->{code}));
}

# The types that ${text} uses, and those that they use, in the order of the header.
sub types_in {
	my ($text) = @_;
	my (%used, @left);
	@left = ($text);
	while (defined(my $code = shift(@left))) {
		for my $name ($code =~ /((?:struct|enum) fob_\w+)/g) {
			next if $used{$name} or not $type_named{$name} or $name =~ / fob_(error|fault|options|client)$/;
			$used{$name} = 1;
			push(@left, $type_named{$name}{code});
		}
	}
	return grep { $used{ $_->{name} } } @types;
}

sub signature {
	my ($declared) = @_;
	my ($type, $name, @parameters) = ($declared->{type}, $declared->{name}, @{ $declared->{parameters} });
	if ($name =~ /^\(/) { # a callback's type, whose parameters are not torn apart
		my $line = "$type\1$name(" . join(', ', map { tr/ /\1/r } @parameters) . ');';
		return literal(wrapped($line, 70, '', '    ') =~ tr/\1/ /r);
	}
	return ".Ft \"$type\"\n.Fo $name\n" . join('', map { ".Fa \"$_\"\n" } @parameters) . ".Fc\n";
}

sub returns {
	my ($page, $labels) = @_;
	my ($told) = map { $_->[1] } grep { $_->[0] eq 'Returns' } @$labels;
	my @faults = grep { $_->{type} eq 'int' and "@{ $_->{parameters} }" =~ /\b(error|options)\b/ } @{ $page->{declared} };
	return '' if not defined $told and not @faults;
	$told = "0, or a negative fault.\n" unless defined $told;
	return ".Sh RETURN VALUES\n$told" .
	    (@faults ? ".Pp\n.Xr libfob 3\nlists the faults, and tells which any call may return.\n" : '');
}

sub page {
	my ($page) = @_;
	my %here = map { $_ => 1 } @{ $page->{functions} };
	my ($labels, $out) = ([], head($page->{name}, 3, $changelog));
	my @functions = @{ $page->{functions} };
	my $last = pop(@functions);
	$out .= ".Sh NAME\n" . join('', map { ".Nm $_ ,\n" } @functions) . ".Nm $last\n.Nd " .
	    lcfirst($page->{summary} =~ s/\$\{(\w+)\}/$1/gr) . "\n";
	$out .= ".Sh SYNOPSIS\n.In fob.h\n" . join('', map { signature($_) } @{ $page->{declared} });
	$out .= ".Sh DESCRIPTION\n" . prose($page->{lines}, \%here, $labels);
	if (my @async = grep { /_async$/ } @{ $page->{functions} }) {
		$out .= ".Pp\n" . join(" ,\n", map { ".Fn $_" } @async) . "\n" .
		    (@async > 1 ? 'are the asynchronous forms.' : 'is the asynchronous form.') .
		    "\nSee \"Synchronous and asynchronous calls\" in\n.Xr libfob 3 .\n";
	}
	$out .= ".Pp\nIn a\n.Vt $_->[0] :\n" . text(lcfirst($_->[1]) =~ s/^\$\{/\${/r, \%here) for @{ $page->{about} };
	my @used = types_in(join(' ', map { $_->{type}, @{ $_->{parameters} } } @{ $page->{declared} }));
	my $members = join('', map { $_->{code} } grep { $_->{name} =~ /_request$/ } @used);
	$out .= ".Pp\nMembers of requests are described in\n.Xr libfob 3 ,\nunder \"Synchronous and asynchronous calls\"" .
	    ($members =~ /\*token;/ ? ' and "Changes"' : '') . ".\n" if $members =~ /timeout_ms;/;
	for my $label (grep { $_->[0] ne 'Returns' } @$labels) {
		$out .= ".Pp\n$label->[0]: " . $label->[1];
	}
	$out .= ".Ss Types\n" . join(".Pp\n", map { definition($_, \%here) } @used) if @used;
	$out .= returns($page, $labels) . ".Sh SEE ALSO\n.Xr libfob 3\n";
	write_file("$folder/$page->{name}.3", tidy($out));
	write_file("$folder/$_.3", ".so man3/$page->{name}.3\n") for grep { $_ ne $page->{name} } @{ $page->{functions} };
}

# The chapters of the introduction: a line alone between blank lines that has no full stop is a heading.
sub chapters {
	my ($lines) = @_;
	my @found = ({ heading => '', lines => [] });
	for my $i (0 .. $#$lines) {
		my $alone = ($i == 0 or $lines->[$i - 1] eq '') && ($i == $#$lines or $lines->[$i + 1] eq '');
		if ($lines->[$i] =~ /^[A-Z]/ and $alone and $lines->[$i] !~ /[.:]$/) {
			push(@found, { heading => $lines->[$i], lines => [] });
		} else {
			push(@{ $found[-1]{lines} }, $lines->[$i]);
		}
	}
	return @found;
}

sub overview {
	my ($intro) = @_;
	my ($name, $summary) = shift(@$intro) =~ /^fob\.h - libfob, (.*)$/ ? ('libfob', $1) : die "$header: its first line\n";
	my @all = chapters($intro);
	my $out = head($name, 3, $changelog) . ".Sh NAME\n.Nm $name\n.Nd $summary\n.Sh SYNOPSIS\n.In fob.h\n.Pp\n" .
	    'cc program.c $(pkg\-config \-\-cflags \-\-libs fob)' . "\n.Sh DESCRIPTION\n" .
	    prose((shift @all)->{lines}) . "\n";
	for my $chapter (@all, map { chapters($_) } @chapters) {
		$out .= ".Ss $chapter->{heading}\n" . prose($chapter->{lines}) if $chapter->{heading} ne '';
	}
	$out .= ".Ss Functions\n";
	for my $section (grep { @{ $_->{pages} } } @sections) {
		$out .= "Of $section->{name}:\n.Bl -tag -width Ds\n";
		for my $page (@{ $section->{pages} }) {
			$out .= '.It ' . join(' , ', map { "Xr $_ 3" } grep { !/_async$/ } @{ $page->{functions} }) . "\n" .
			    text("$page->{summary}.");
		}
		$out .= ".El\n.Pp\n";
	}
	$out .= ".Ss Constants\n" . join(".Pp\n", map { definition($_) } @constants);
	$out .= ".Ss Types\n" . join(".Pp\n", map { definition($_) } @types);
	$out .= ".Sh SEE ALSO\n.Xr fob 1 ,\n.Xr fobd 8\n";
	write_file("$folder/libfob.3", tidy($out));
}

my $intro = read_header();
page($_) for map { @{ $_->{pages} } } @sections;
overview($intro);
