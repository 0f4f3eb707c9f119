{#- Keys are compared so that null is the same as null: `in` and `=` would leave rows with a null in their key alone. -#}

{% macro key_columns(unique_key) -%}
    {{ return([unique_key] if unique_key is string else unique_key) }}
{%- endmacro %}

{% macro quoted_columns(columns) -%}
    {%- set names = [] -%}
    {%- for column in columns %}{% do names.append(adapter.quote(column)) %}{% endfor -%}
    {{ return(names) }}
{%- endmacro %}

{#- A condition: the two relations, each called by its alias, have the same key. -#}
{% macro same_key(key, left, right) -%}
    {%- set conditions = [] -%}
    {%- for column in quoted_columns(key) -%}
        {%- do conditions.append(left ~ '.' ~ column ~ ' is not distinct from ' ~ right ~ '.' ~ column) -%}
    {%- endfor -%}
    ({{ conditions | join(' and ') }})
{%- endmacro %}

{#- A condition on a relation, called by its alias: `keys` has its key. -#}
{% macro has_key_in(key, alias, keys) -%}
    exists (select 1 from {{ keys }} as __keys where {{ same_key(key, '__keys', alias) }})
{%- endmacro %}

{% macro string_literal(text) -%}
    {{ return("'" ~ text | string | replace("'", "''") ~ "'") }}
{%- endmacro %}

{#- A table of the build's own connection, called by the model; `what` says what it holds. -#}
{% macro temporary_table(what) -%}
    {{ return(adapter.quote('temp') ~ '.main.' ~ adapter.quote(model.unique_id ~ ' ' ~ what)) }}
{%- endmacro %}
