//! Completion, manual pages, help: what is told of the commands is of the commands there are.

use crate::support::*;

#[tokio::test]
async fn every_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = Shell::bare().run(&["completions", shell]).await;
        for word in ["webhooks", "deliveries", "before_message"] {
            assert!(script.done().contains(word), "{shell}: {word}");
        }
    }
    Shell::bare().run(&["completions", "tcsh"]).await.refused(2);
}

#[tokio::test]
async fn each_command_has_a_manual_page() {
    let shell = Shell::bare();
    assert_eq!(shell.run(&["man", "pages/1"]).await.done(), "");
    let page = |name: &str| std::fs::read_to_string(shell.home().join("pages/1").join(name)).expect("a page");
    assert!(page("chathook.1").contains("Exit codes"));
    assert!(page("chathook-webhooks-create.1").contains("signing secret"));
    assert!(page("chathook-deliveries-tail.1").contains("\\-\\-lines"));
}

#[tokio::test]
async fn the_page_of_the_command_line_knows_every_command() {
    let page = include_str!("../../../../docs/cli.md");
    let help = Shell::bare().run(&["--help"]).await;
    let commands = help.done().lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.contains(&"webhooks"), "the help was not understood: {names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        assert!(page.contains(&format!("`{name}")), "docs/cli.md lacks '{name}'");
    }
}
