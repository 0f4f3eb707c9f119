{#- Keys are compared with `is not distinct from`, so that null equals null: `=` and `in` would skip rows with a null in
    their key.
-#}

{% macro key_columns(unique_key) -%}
    {{ return([unique_key] if unique_key is string else unique_key) }}
{%- endmacro %}

{% macro quoted_columns(columns) -%}
    {%- set names = [] -%}
    {%- for column in columns %}{% do names.append(adapter.quote(column)) %}{% endfor -%}
    {{ return(names) }}
{%- endmacro %}

{#- Return names for the columns of a key that no column of a model has, so that a subquery hides no column. -#}
{% macro numbered_columns(columns) -%}
    {%- set names = [] -%}
    {%- for column in columns %}{% do names.append(adapter.quote('key column ' ~ loop.index)) %}{% endfor -%}
    {{ return(names) }}
{%- endmacro %}

{#- Return a column or an expression as SQL: a name is quoted, since it may be an SQL keyword such as `order`. -#}
{% macro quoted_expression(text) -%}
    {{ return(adapter.quote(text) if modules.re.fullmatch('[A-Za-z_][A-Za-z0-9_]*', text) else text) }}
{%- endmacro %}

{#- Return the condition that two relations, given by their aliases, have the same key. `right_names` are the names of
    the key's columns in the right relation, if they differ.
-#}
{% macro same_key(key, left, right, right_names=none) -%}
    {%- set conditions = [] -%}
    {%- for column in quoted_columns(key) -%}
        {%- set other = right_names[loop.index0] if right_names else column -%}
        {%- do conditions.append(left ~ '.' ~ column ~ ' is not distinct from ' ~ right ~ '.' ~ other) -%}
    {%- endfor -%}
    ({{ conditions | join(' and ') }})
{%- endmacro %}

{#- Return the condition that the key of a relation, given by its alias, is in the table `keys`. -#}
{% macro has_key_in(key, alias, keys) -%}
    exists (select 1 from {{ keys }} as __keys where {{ same_key(key, '__keys', alias) }})
{%- endmacro %}

{#- Return the name of a temporary table of the present model; `what` describes its content. -#}
{% macro temporary_table(what) -%}
    {{ return(adapter.quote('temp') ~ '.main.' ~ adapter.quote(model.unique_id ~ ' ' ~ what)) }}
{%- endmacro %}
