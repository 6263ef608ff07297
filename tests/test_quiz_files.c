/* test_quiz_files.c - questions in the forms that others write: what is asked, what is refused, by file and line. */
#include "program.h"
#include "study_files.h"

#include "study/tasks.h"

static const char *save(const char *name, const char *text)
{
    const char *path = work_path(name);
    assert_ok(qk_write_file(path, text, strlen(text), err));
    return path;
}

static qk_quiz read_as(const char *path, const qk_quiz_reading *how)
{
    qk_quiz quiz;
    assert_ok(qk_quiz_read(&quiz, &path, 1, how, err));
    return quiz;
}

static qk_quiz read_file(const char *name, const char *text)
{
    return read_as(save(name, text), &(qk_quiz_reading){ 0 });
}

static void check(const qk_quiz *quiz, size_t i, const char *id, const char *prompt, const char *answer)
{
    assert_string_equal(quiz->items[i].id, id);
    assert_string_equal(quiz->items[i].prompt, prompt);
    assert_string_equal(quiz->items[i].answer, answer);
}

static void check_category(const qk_quiz *quiz, const char *name, bool contextual, qk_scoring scoring)
{
    assert_int_equal(quiz->n_categories, 1);
    assert_string_equal(quiz->categories[0].name, name);
    assert_int_equal(quiz->categories[0].contextual, contextual);
    assert_int_equal(quiz->categories[0].scoring, scoring);
}

#define TRUE_OR_NOT "Is this statement true? Answer Yes or No.\n\nStatement: "

static void statements(void **state)
{
    (void)state;
    qk_quiz quiz = read_file("cities.csv",
                             "\xEF\xBB\xBFstatement,label,city,country,correct_country\r\n"
                             "The city of Lodz is in Poland.,1,Lodz,Poland,Poland\r\n"
                             "\"The city of \"\"Nowhere\"\", is\nin Utopia.\",0,Nowhere,Utopia,None\n"
                             "\n"
                             "Late.,TRUE,,,");
    assert_int_equal(quiz.n, 3);
    check(&quiz, 0, "cities.csv#2", TRUE_OR_NOT "The city of Lodz is in Poland.\nAnswer:", "Yes");
    check(&quiz, 1, "cities.csv#3", TRUE_OR_NOT "The city of \"Nowhere\", is\nin Utopia.\nAnswer:", "No");
    check(&quiz, 2, "cities.csv#6", TRUE_OR_NOT "Late.\nAnswer:", "Yes");
    assert_int_equal(quiz.items[0].n_choices, 2);
    assert_string_equal(quiz.items[0].choices[quiz.items[0].choice], "Yes");
    assert_near(quiz.items[1].chance, 0.5, 0);
    check_category(&quiz, "cities", false, QK_SCORE_CHOICE);
    qk_quiz_free(&quiz);
    quiz = read_as(work_path("cities.csv"), &(qk_quiz_reading){ .template = "{city}\\n{{{country}}} \\\\ {label}?",
                                                                 .category = "towns", .kind = QK_KIND_CONTEXTUAL,
                                                                 .per_category = 1 });
    assert_int_equal(quiz.n, 1);
    check(&quiz, 0, "cities.csv#2", "Lodz\n{Poland} \\ 1?", "Yes");
    check_category(&quiz, "towns", true, QK_SCORE_CHOICE);
    assert_string_equal(quiz.template, "{city}\\n{{{country}}} \\\\ {label}?");
    qk_quiz_free(&quiz);
}

/* One JSON document, as Jin et al. keep theirs. */
static void yes_or_no(void **state)
{
    (void)state;
    static const char document[] =
        "{\n \"version\": \"1.0\",\n \"categories\": [{\"name\": \"sports\"}, [\"}\"]],\n \"data\": [\n"
        "  {\n   \"question\": \"Is golf a {\\\"sport\\\"}?\", \"answer\": true, \"category\": \"sports\",\n"
        "   \"more\": [{\"a\": 1}]},\n"
        "  {\"question\": \" Is chess wet? \", \"answer\": false, \"category\": \"sports\"}, {\n"
        "   \"question\": \"Is it?\", \"answer\": true, \"category\": \"sports\", \"id\": \"x\"}\n ]\n}\n";
    qk_quiz quiz = read_file("sports_qa.json", document);
    assert_int_equal(quiz.n, 3);
    check(&quiz, 0, "sports_qa.json#1", "Answer Yes or No.\n\nQuestion: Is golf a {\"sport\"}?\nAnswer:", "Yes");
    check(&quiz, 1, "sports_qa.json#2", "Answer Yes or No.\n\nQuestion: Is chess wet?\nAnswer:", "No");
    assert_string_equal(quiz.items[2].id, "x");
    assert_int_equal(quiz.items[0].line, 5);
    assert_int_equal(quiz.items[1].line, 8);
    assert_int_equal(quiz.items[2].line, 8);
    check_category(&quiz, "sports", false, QK_SCORE_CHOICE);
    qk_quiz_free(&quiz);
    quiz = read_file("list.json", "[{\"question\":\"a?\",\"answer\":true},{\"question\":\"b?\",\"answer\":false}]");
    assert_int_equal(quiz.n, 2);
    assert_string_equal(quiz.items[1].id, "list.json#2");
    qk_quiz_free(&quiz);
    quiz = read_file("lines.json", "{\"question\":\"a?\",\"answer\":true}\n\n{\"question\":\"b?\",\"answer\":false}\n");
    assert_int_equal(quiz.n, 2); /* AQuA's test.json is lines */
    qk_quiz_free(&quiz);
}

static void numbers_at_the_end(void **state)
{
    (void)state;
    qk_quiz quiz = read_file("gsm8k.jsonl",
                             "{\"question\": \"How many? \", \"answer\": \"He has 3*<<3*2=6>>2.\\n#### 1,080\"}\n"
                             "{\"question\": \"And now?\", \"answer\": \"Down.\\n#### -7\"}\n");
    check(&quiz, 0, "gsm8k.jsonl#1", "Question: How many?\nAnswer:", "1080");
    check(&quiz, 1, "gsm8k.jsonl#2", "Question: And now?\nAnswer:", "-7");
    check_category(&quiz, "gsm8k", true, QK_SCORE_INTEGER);
    assert_int_equal(quiz.items[0].n_choices, 0);
    qk_quiz_free(&quiz);
    quiz = read_file("open.jsonl", "{\"question\": \"Who?\", \"answer\": \"Nobody\", \"kind\": \"contextual\"}\n");
    check(&quiz, 0, "open.jsonl#1", "Question: Who?\nAnswer:", "Nobody");
    check_category(&quiz, "open", true, QK_SCORE_EXACT);
    qk_quiz_free(&quiz);
}

static void letters_or_texts(void **state)
{
    (void)state;
    static const char aqua[] = "{\"question\":\"2+2?\",\"options\":[\"A)3\",\"B)4\",\"C) 5\"],\"rationale\":\"so\","
                               "\"correct\":\"B\"}\n";
    qk_quiz quiz = read_file("aqua.jsonl", aqua);
    check(&quiz, 0, "aqua.jsonl#1", "Question: 2+2?\nA) 3\nB) 4\nC) 5\nAnswer:", "B");
    assert_int_equal(quiz.items[0].n_choices, 3);
    assert_string_equal(quiz.items[0].choices[2], "C");
    assert_near(quiz.items[0].chance, 1.0 / 3, 1e-15);
    check_category(&quiz, "aqua", true, QK_SCORE_CHOICE);
    qk_quiz_free(&quiz);
    quiz = read_as(work_path("aqua.jsonl"), &(qk_quiz_reading){ .template = "{question} It is" });
    check(&quiz, 0, "aqua.jsonl#1", "2+2? It is", "4");
    assert_string_equal(quiz.items[0].choices[0], "3");
    qk_quiz_free(&quiz);
    quiz = read_file("mc.jsonl", "{\"question\":\"q\",\"choices\":[\"red\",\"blue\"],\"answer\":1}\n"
                                 "{\"question\":\"q\",\"choices\":[\"red\",\"blue\"],\"answer\":\"A\"}\n"
                                 "{\"question\":\"q\",\"choices\":[\"red\",\"blue\"],\"answer\":\"blue\"}\n");
    check(&quiz, 0, "mc.jsonl#1", "Question: q\nA) red\nB) blue\nAnswer:", "B");
    assert_string_equal(quiz.items[1].answer, "A");
    assert_string_equal(quiz.items[2].answer, "B");
    check_category(&quiz, "mc", false, QK_SCORE_CHOICE);
    qk_quiz_free(&quiz);
}

static void reviews(void **state)
{
    (void)state;
    qk_quiz quiz = read_file("imdb.csv", "text,label\n\"Good, good.\",1\nBad.,neg\n");
    check(&quiz, 0, "imdb.csv#2", "Is this review of a film Positive or Negative?\n\nReview: Good, good.\n\nSentiment:",
          "Positive");
    assert_string_equal(quiz.items[1].answer, "Negative");
    check_category(&quiz, "imdb", true, QK_SCORE_CHOICE);
    qk_quiz_free(&quiz);
}

static void bad_files_are_refused_by_line(void **state)
{
    (void)state;
    static const struct { const char *name, *text, *format, *template; qk_status status; const char *part; } cases[] = {
        { "a.csv", "statement,city\nx,y\n", "statements", NULL, QK_E_FORMAT,
          "a.csv:1: format statements: expected the column \"label\", found statement, city" },
        { "a.csv", "statement,city\nx,y\n", NULL, NULL, QK_E_FORMAT,
          "a.csv:1: expected the columns of a form of questions (" },
        { "a.csv", "statement,city\nx,y\n", NULL, NULL, QK_E_FORMAT, "label), found statement, city" },
        { "a.csv", "statement,label\nx,1\ny,2\n", NULL, NULL, QK_E_FORMAT,
          "a.csv:3: column \"label\": expected 0, 1, true or false, found \"2\"" },
        { "a.csv", "statement,label\nx,1\ny\n", NULL, NULL, QK_E_FORMAT, "a.csv:3: expected 2 fields, as the columns" },
        { "a.csv", "statement,label\nx,1,2\n", NULL, NULL, QK_E_FORMAT, "a.csv:2: expected 2 fields" },
        { "a.csv", "statement,label\nx,1\n\"y,0\n", NULL, NULL, QK_E_FORMAT,
          "a.csv:3: expected a closing quote, found the end of the file" },
        { "a.csv", "statement,statement\nx,1\n", NULL, NULL, QK_E_FORMAT, "a.csv:1: expected different columns" },
        { "a.csv", "statement,label\n", NULL, NULL, QK_E_FORMAT, "a.csv:1: expected rows below the columns" },
        { "a.csv", "", NULL, NULL, QK_E_FORMAT, "a.csv:1: expected columns, found an empty file" },
        { "a.csv", "statement,label\nx\xff,1\n", NULL, NULL, QK_E_FORMAT, "a.csv:2: expected UTF-8" },
        { "a.csv", "statement,label\n ,1\n", NULL, "{statement}", QK_E_FORMAT,
          "a.csv:2: key \"prompt\": expected text" },
        { "a.csv", "statement,label\nx,1\n", NULL, "{town}?", QK_E_FORMAT,
          "template: " },
        { "a.csv", "statement,label\nx,1\n", NULL, "{town}?", QK_E_FORMAT,
          "a.csv:2: column \"town\": expected text, found nothing" },
        { "a.csv", "statement,label\nx,1\n", NULL, "{statement", QK_E_ARGUMENT, "--template: expected {name}" },
        { "a.csv", "statement,label\nx,1\n", NULL, "a } b", QK_E_ARGUMENT, "--template: expected }}" },
        { "a.csv", "statement,label\nx,1\n", NULL, "a ", QK_E_ARGUMENT, "--template: expected text that ends without" },
        { "a.csv", "statement,label\nx,1\n", NULL, "a\\n", QK_E_ARGUMENT,
          "--template: expected text that ends without" },
        { "g.jsonl", "{\"question\":\"q\",\"answer\":\"#### 4\"}\n{\"question\":\"q\",\"answer\":\"4\"}\n", NULL, NULL,
          QK_E_FORMAT, "g.jsonl:2: key \"answer\": expected #### and an integer at its end, found \"4\"" },
        { "g.jsonl", "{\"question\":\"q\",\"answer\":\"#### 4.5\"}\n", NULL, NULL, QK_E_FORMAT, "found \"#### 4.5\"" },
        { "m.jsonl", "{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":\"c\"}\n", NULL, NULL, QK_E_FORMAT,
          "m.jsonl:1: key \"answer\": expected one of the choices, its letter or its number from 0, found \"c\"" },
        { "m.jsonl", "{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":2}\n", NULL, NULL, QK_E_FORMAT,
          "found \"2\"" },
        { "m.jsonl", "{\"question\":\"q\",\"choices\":[\"a\"],\"answer\":0}\n", NULL, NULL, QK_E_FORMAT,
          "key \"choices\": expected 2 to 26 texts, found \"1\"" },
        { "m.jsonl", "{\"question\":\"q\",\"choices\":[\"a\",\"a\"],\"answer\":0}\n", NULL, "{question}", QK_E_FORMAT,
          "key \"choices\": expected different texts, found \"a\"" },
        { "m.jsonl", "{\"question\":\"q\",\"choices\":[\"a\\u0000b\",\"a\"],\"answer\":0}\n", NULL, NULL, QK_E_FORMAT,
          "key \"choices\": expected texts without NUL" },
        { "q.jsonl", "{\"options\":[\"A)1\",\"B)2\"],\"question\":\"q\",\"correct\":\"E\"}\n", NULL, NULL, QK_E_FORMAT,
          "q.jsonl:1: key \"correct\": expected one of the choices" },
        { "q.jsonl", "{\"question\":\"q\"}\n", "aqua", NULL, QK_E_FORMAT,
          "q.jsonl:1: format aqua: expected the key \"options\", found question" },
        { "s.json", "{\"data\":[{\"question\":\"q\",\"answer\":true},\n\n{\"question\":\"q\"}]}", NULL, NULL,
          QK_E_FORMAT, "s.json:3: format yes-no: expected the key \"answer\"" },
        { "s.json", "[]", NULL, NULL, QK_E_FORMAT, "s.json:1: expected objects, found an empty list" },
        { "s.json", "[1]", NULL, NULL, QK_E_FORMAT, "s.json:1: item 1 of the list: expected a JSON object" },
        { "s.json", "[{]", NULL, NULL, QK_E_FORMAT, "s.json:1: expected a JSON object, found at column" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = save(cases[i].name, cases[i].text);
        qk_quiz quiz;
        assert_refused(qk_quiz_read(&quiz, &path, 1, &(qk_quiz_reading){ .format = cases[i].format,
                                                                         .template = cases[i].template }, err),
                       cases[i].status, cases[i].part);
    }
}

static void a_template_needs_tokens_that_the_model_has(void **state)
{
    (void)state;
    qk_named_model mha = open_golden("mha");
    const char *path = save("t.csv", "statement,label\nx,1\n");
    static const qk_tasks_settings settings = { 0 };
    static const struct { const char *template, *missing; } cases[] = {
        { "<|user|>{statement}<|end|>", "<|user|>" }, { "<start_of_turn>{statement}", "<start_of_turn>" },
        { "a < b |> c {statement}", NULL }, { "[INST] {statement} [/INST]", NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char part[200];
        qk_asked *asked = NULL;
        qk_quiz quiz = read_as(path, &(qk_quiz_reading){ .template = cases[i].template });
        if (cases[i].missing) {
            snprintf(part, sizeof part, "t.csv:2: the template needs the special token %s, which the tokenizer of mha "
                     "has not", cases[i].missing);
            assert_refused(qk_tasks_encode(&asked, &quiz, &mha, 0, &settings, false, err), QK_E_FORMAT, part);
        } else {
            assert_ok(qk_tasks_encode(&asked, &quiz, &mha, 0, &settings, false, err));
            qk_tasks_free(asked, quiz.n);
        }
        qk_quiz_free(&quiz);
    }
    qk_model_close(mha.model);
}

static void the_verb_reads_them(void **state)
{
    (void)state;
    const char *demo = data_path("golden/demo");
    const char *cities = save("cities.csv", "statement,label\nThe tide is low.,1\nThe boat was a copper.,0\n");
    outcome o = run_program("tasks", demo, "--conditions", "baseline", "--questions", cities, "--no-run", "-q");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "cities"));
    assert_non_null(strstr(o.out, "parametric"));
    outcome_free(&o);
    o = run_program("tasks", demo, "--conditions", "baseline", "--questions", cities, "--no-run", "-q", "--template",
                    "{statement} Yes or no?", "--score", "contains", "--category", "towns", "--kind", "contextual",
                    "--format", "statements", "-n", "4");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "towns"));
    assert_non_null(strstr(o.out, "contextual"));
    outcome_free(&o);
    o = run_program("tasks", demo, "--conditions", "baseline", "--template", "x", "--no-run", "-q");
    assert_int_equal(o.code, 2);
    assert_non_null(strstr(o.err, "--template: expected --questions beside it"));
    outcome_free(&o);
    o = run_program("tasks", demo, "--conditions", "baseline", "--questions", cities, "-c", "5", "--no-run", "-q");
    assert_int_equal(o.code, 2);
    assert_non_null(strstr(o.err, "question cities.csv#2: "));
    assert_non_null(strstr(o.err, "the context has 5"));
    outcome_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements),
        cmocka_unit_test(yes_or_no),
        cmocka_unit_test(numbers_at_the_end),
        cmocka_unit_test(letters_or_texts),
        cmocka_unit_test(reviews),
        cmocka_unit_test(bad_files_are_refused_by_line),
        cmocka_unit_test(a_template_needs_tokens_that_the_model_has),
        cmocka_unit_test(the_verb_reads_them),
    };
    return cmocka_run_group_tests(tests, make_work_folder, remove_work_folder);
}
