#!/usr/bin/perl
# conf.pl NAME DAEMON CHANGELOG FILE... - make the manual page NAME(5) from the settings that come with DAEMON(8), each
# of which a comment there describes, so that they cannot differ. Prints the page.
#
# What it reads: a comment before a setting, and behind it on its line, is about that setting; "#name = value" is a
# setting that is not set by default; NAME "TITLE" { ... } has settings of its own. The comment at the top is about the
# file.
use strict;
use warnings FATAL => 'all';
use Mdoc;

my ($name, $daemon, $changelog, @files) = @ARGV;
die "usage: conf.pl NAME DAEMON CHANGELOG FILE...\n" unless @files;

# A setting as a tag, and what its comments say.
sub item {
	my ($setting, $about, $is_off) = @_;
	$about = ($about =~ s{(?<=\w)$}{.}r) . " Not set by default." if $is_off and $about !~ /default/i;
	return '.It Li "' . (escape($setting) =~ s/"/\\(dq/gr) . "\"\n" . plain($about);
}

# Comments with an empty line between them are paragraphs.
sub paragraphs {
	return join(".Pp\n", map { plain($_) } grep { /\S/ } @_);
}

# settings(path): the introduction and the list.
sub settings {
	my ($path) = @_;
	my ($intro, $list, $is_top, $block_off, @about) = ('', '', 1, 0, '');
	my @lines = split(/\n/, read_file($path));
	while (defined(my $line = shift(@lines))) {
		my $off = $line =~ s/^\t*#(?=\t*(?:\w+ = |\w+ ".*" \{$|\}$|# ))// && $line !~ /^ / ? 1 : 0;
		$line =~ s/^\t+//;
		if ($line =~ /^# ?(.*)/) {
			my $said = $1;
			$said =~ /\S/ ? ($about[-1] .= " $said") : push(@about, '');
		} elsif ($line eq '' or ($line =~ /^\w+ (?:=|".*" \{)/ and $is_top)) {
			$intro .= ($intro eq '' ? '' : ".Pp\n") . paragraphs(@about) and @about = ('') if $is_top;
			$is_top = 0;
			redo if $line ne '';
		} elsif ($line =~ /^(\w+ ".*") \{$/) {
			$list .= item("$1 { ... }", "@about", 0) . ".Bl -tag -width Ds\n";
			($block_off, @about) = ($off, '');
		} elsif ($line eq '}') {
			$list .= ".El\n";
			$block_off = 0;
		} elsif ($line =~ /^\w+ = /) {
			$line .= ' ' . (shift(@lines) =~ s/^\s+//r) while $line =~ /,$/;
			my ($setting, $behind) = $line =~ /^((?:[^"#]|"[^"]*")*?)\s*(?:# (.*))?$/;
			$list .= item($setting, join(' ', @about, $behind // ()), $off && !$block_off);
			@about = ('');
		} else {
			die "$path: not understood: $line\n";
		}
	}
	return ($intro, $list);
}

my $out = head($name, 5, $changelog) . ".Sh NAME\n.Nm $name\n.Nd settings of $daemon\n.Sh DESCRIPTION\n.Nm\n" .
    "is read by\n.Xr $daemon 8 .\n";
for my $file (@files) {
	my ($intro, $list) = settings($file);
	my $base = $file =~ s{.*/}{}r;
	$intro =~ s/^\s*\Q$base\E: every setting/It has every setting/ or die "$file: its first line\n";
	$out .= ".Sh THE FILE $base\n" if @files > 1;
	$out .= "$intro.Ss Settings\n.Bl -tag -width Ds\n$list.El\n";
}
$out .= ".Sh FILES\n.Bl -tag -width Ds\n" . join('', map { ".It Pa /etc/fob/" . (s{.*/}{}r) . "\n" } @files) .
    ".El\n.Sh SEE ALSO\n.Xr fob 1 ,\n.Xr $daemon 8\n";
binmode(STDOUT, ':encoding(UTF-8)');
print tidy($out);
